/* The value error in plain f32: the oracle's yardstick. */
#include "kernels/value_loss/value_token.h"

#include "kernels/formula.h"
#include "kernels/value_loss/value_loss_plain.h"

static float eval(int id, const struct plumb_value_token *p, struct plumb_value_grad *g)
{
    (void)id;
    return plumb_value_error(p, g);
}

PLUMB_FORMULA_PLAIN(plumb_value_plain, eval, plumb_value_token, plumb_value_grad)
