/* A model of llama2.c; the same bytes as its tokenizer. */
#include "io/hf_model.h"
#include "io/llama2c.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    enum { ELEMENTS = 1 << 16 };
    static float flat[ELEMENTS];
    struct plumb_hf_config config;
    struct plumb_weights weights;
    struct plumb_hf_model m;
    const char *path = fuzz_file("model.bin", (struct fuzz_part){ (const char *)data, n });
    fuzz_good(plumb_llama2c_write_tokenizer(path, 7, fuzz_folder()));
    if (!fuzz_good(plumb_llama2c_model(path, &config, &weights))) return 0;
    if (!fuzz_good(plumb_hf_model_from(&m, &config, &weights, 0))) return 0;
    if (m.elements <= ELEMENTS && fuzz_good(plumb_hf_model_read(&m, PLUMB_F32, flat, false)))
        fuzz_note(flat, (size_t)m.elements * sizeof *flat);
    plumb_hf_model_release(&m);
    return 0;
}
