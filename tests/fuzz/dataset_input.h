/* Rows of a dataset, whatever the file's form. The first byte says who asks ('0' + enum
 * plumb_dataset_use), the second is max_length - '0' and, from 'A' on, also passes over bad rows;
 * then the file. */
#pragma once
#include <stdlib.h>

#include "io/chat.h"
#include "io/dataset.h"
#include "io/fake_text.h"
#include "tests/fuzz/fuzz.h"

static const char template[] =
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}"
    "a:{{ m.content }}{{ eos_token }}{% endgeneration %}{% else %}{{ m.role }}:{{ m.content }};"
    "{% endif %}{% endfor %}{% if tools %}{{ tools | tojson }}{% endif %}{{ extra }}"
    "{% if add_generation_prompt %}a:{% endif %}";

static inline void note_ids(const struct plumb_ids *ids)
{
    fuzz_note(ids->id, (size_t)ids->n * sizeof *ids->id);
    for (int64_t i = 0; i < ids->n; i++)
        PLUMB_ASSERT(ids->id[i] >= 0 && ids->id[i] < FAKE_VOCAB);
}

static inline void read_all(const struct plumb_dataset *set)
{
    struct plumb_example e;
    char where[64];
    for (int64_t i = 0; i < set->count; i++) {
        if (!fuzz_good(set->get(set->self, i, &e))) continue;
        note_ids(&e.prompt);
        for (int k = 0; k < 3; k++)
            note_ids(&e.completion[k]);
        note_ids(&e.kl_completion);
        for (int64_t k = 0; k < e.candidates; k++)
            note_ids(&e.candidate[k]);
        plumb_dataset_where(set, i, where, sizeof where);
    }
}

static inline int dataset_input(const char *name, const uint8_t *data, size_t n)
{
    static bool written;
    if (n < 2) return 0;
    if (!written) {
        fuzz_file("chat_template.jinja", (struct fuzz_part){ template, sizeof template - 1 });
        written = true;
    }
    struct fake_text fake = { .merge = true, .bos = true };
    const struct plumb_text text = fake_text(&fake);
    const char *path = fuzz_file(name, (struct fuzz_part){ (const char *)data + 2, n - 2 });
    struct plumb_chat chat;
    if (!fuzz_good(plumb_chat_open(&chat, fuzz_folder(), NULL, &text))) return 0;
    const unsigned use = data[0] - (unsigned)'0';
    const struct plumb_dataset_options options = {
        .paths = &path,
        .path_count = 1,
        .use = use <= PLUMB_USE_LISTS ? (enum plumb_dataset_use)use : PLUMB_USE_ANY,
        .text = &text,
        .chat = &chat,
        .max_length = data[1] >= 'A'  ? data[1] - 'A'
                      : data[1] > '0' ? data[1] - '0'
                                      : 0,
        .skip_bad_rows = data[1] >= 'A',
        .train_on_prompt = data[1] >= 'a',
    };
    struct plumb_dataset set;
    if (fuzz_good(plumb_dataset_open(&options, &set))) {
        read_all(&set);
        plumb_dataset_release(&set);
    }
    plumb_chat_release(&chat);
    return 0;
}
