/* JSON: what the scanner lets pass, cJSON takes and prints so that it reads the same again. */
#include <string.h>

#include "io/json.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    cJSON *first, *second = NULL;
    const int rc = plumb_json_parse((const char *)data, n, "input", &first);
    if (!fuzz_good(rc)) return 0;
    char *text = cJSON_PrintUnformatted(first);
    fuzz_note_json(first);
    const int again = text ? plumb_json_parse(text, strlen(text), "printed", &second)
                           : plumb_fail(PLUMB_EMEM, "could not print the value");
    if (fuzz_good(again)) PLUMB_ASSERT(cJSON_Compare(first, second, true));
    cJSON_free(text);
    cJSON_Delete(first);
    cJSON_Delete(second);
    return 0;
}
