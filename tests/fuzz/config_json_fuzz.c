/* config.json, 0xFF, generation_config.json of a model folder. */
#include "io/hf_config.h"
#include "io/hf_model.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fuzz_part rest = { (const char *)data, n };
    struct plumb_hf_config c;
    struct plumb_hf_model m;
    fuzz_file("config.json", fuzz_cut(&rest));
    fuzz_file("generation_config.json", rest.n ? rest : (struct fuzz_part){ "{}", 2 });
    if (!fuzz_good(plumb_hf_config_read(&c, fuzz_folder()))) return 0;
    cJSON *saved = plumb_hf_config_saved(&c, PLUMB_BF16);
    fuzz_note_json(saved);
    cJSON_Delete(saved);
    fuzz_good(plumb_hf_config_check_dropout(&c));
    if (!fuzz_good(plumb_hf_model_plan(&m, &c))) return 0;
    fuzz_note(&m.elements, sizeof m.elements);
    plumb_hf_model_release(&m);
    return 0;
}
