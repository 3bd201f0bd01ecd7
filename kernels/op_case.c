#include "kernels/op.h"
