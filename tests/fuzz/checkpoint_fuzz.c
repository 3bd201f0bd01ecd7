/* The files of a checkpoint: its index, 0xFF, state.json, 0xFF, the array a.bin. */
#include <stdlib.h>
#include <string.h>

#include "io/checkpoint.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fuzz_part rest = { (const char *)data, n };
    struct plumb_checkpoint c;
    char *state = NULL;
    float a[4];
    fuzz_file(PLUMB_CHECKPOINT_INDEX, fuzz_cut(&rest));
    fuzz_file("state.json", fuzz_cut(&rest));
    fuzz_file("a.bin", rest);
    if (!fuzz_good(plumb_checkpoint_open(&c, fuzz_folder()))) return 0;
    fuzz_note(&c.step, sizeof c.step);
    if (plumb_checkpoint_has(&c, "a") && fuzz_good(plumb_checkpoint_get(&c, "a", PLUMB_F32, 4, a)))
        fuzz_note(a, sizeof a);
    if (fuzz_good(plumb_checkpoint_state(&c, &state))) fuzz_note_text(state);
    free(state);
    fuzz_good(plumb_checkpoint_verify(&c, "state.json"));
    fuzz_good(plumb_checkpoint_verify_rest(&c));
    plumb_checkpoint_release(&c);
    return 0;
}
