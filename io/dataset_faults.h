/* What may be wrong with the tokens of a set, and which of them are trained on: for those who print
 * it. */
#pragma once
#include "io/dataset_rows.h"

enum plumb_fault {
    PLUMB_FAULT_NO_EOS,
    PLUMB_FAULT_TWO_EOS,
    PLUMB_FAULT_TWO_BOS,
    PLUMB_FAULT_INNER_BOS,
    PLUMB_FAULT_EMPTY,
    PLUMB_FAULTS
};
extern const char *const plumb_fault_text[PLUMB_FAULTS];

/* Completions of an example: the sides of a pair, the candidates of a list, or the one. */
int64_t plumb_example_sides(const struct plumb_example *e);
struct plumb_ids plumb_example_side(const struct plumb_example *e, int64_t side);
/* "chosen", "completion", ... */
const char *plumb_example_side_name(enum plumb_dataset_type t, int64_t side);
/* The first token of a completion that the loss may see, and how many it sees (reward: the one
 * where the score is read). */
int64_t plumb_first_trained(const struct plumb_dataset_self *d, const struct plumb_example *e,
                            int64_t side);
int64_t plumb_count_trained(const struct plumb_dataset_self *d, const struct plumb_example *e,
                            int64_t side);
/* Tokens that max_length took from a completion; of a list, from all. */
int64_t plumb_side_cut(const struct plumb_row *row, const struct plumb_example *e, int64_t side);
/* Bits of enum plumb_fault for one completion. */
unsigned plumb_faults_of(const struct plumb_dataset_self *d, const struct plumb_text *text,
                         const struct plumb_example *e, const struct plumb_row *row, int64_t side);
