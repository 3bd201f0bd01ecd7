/* A configuration file of a training command; the first byte chooses the command. */
#include <stdio.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tools/train_options.h"

/* Each starts with what all share. */
union config {
    struct plumb_train_config train;
    struct plumb_dpo_config dpo;
    struct plumb_cpo_config cpo;
    struct plumb_orpo_config orpo;
    struct plumb_tpo_config tpo;
    struct plumb_kto_config kto;
    struct plumb_listwise_config listwise;
};

static int finish_dpo(union config *c) { return plumb_dpo_config_finish(&c->dpo); }
static int finish_cpo(union config *c) { return plumb_cpo_config_finish(&c->cpo); }
static int finish_tpo(union config *c) { return plumb_tpo_config_finish(&c->tpo); }
static int finish_kto(union config *c) { return plumb_kto_config_finish(&c->kto); }
static int finish_lists(union config *c) { return plumb_listwise_config_finish(&c->listwise); }

static const struct {
    const struct plumb_option_set *set;
    int (*finish)(union config *c);
} commands[] = {
    { &plumb_dpo_options, finish_dpo },        { &plumb_cpo_options, finish_cpo },
    { &plumb_tpo_options, finish_tpo },        { &plumb_kto_options, finish_kto },
    { &plumb_listwise_options, finish_lists },
};
enum { COMMANDS = sizeof commands / sizeof *commands };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (!n) return 0;
    const int k = data[0] % COMMANDS;
    const char *path = fuzz_file("run.yaml", (struct fuzz_part){ (const char *)data + 1, n - 1 });
    char option[160];
    char *argv[] = { "fuzz", option, "--output_dir=/nowhere", NULL };
    snprintf(option, sizeof option, "--config=%s", path);
    union config c;
    struct plumb_options o;
    memset(&c, 0, sizeof c);
    if (!fuzz_good(plumb_options_parse(&o, commands[k].set, &c, 3, argv))) return 0;
    cJSON *json = NULL;
    if (fuzz_good(commands[k].finish(&c)) && fuzz_good(plumb_options_json(&o, &json)))
        fuzz_note_json(json);
    cJSON_Delete(json);
    plumb_options_release(&o);
    return 0;
}
