/* Rows of a dataset: JSON Lines or a JSON array, plain or packed. */
#include "tests/fuzz/dataset_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    return dataset_input("rows.jsonl", data, n);
}
