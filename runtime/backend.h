/* The backend of that name ("cuda", "cuda-sim"), opened when first asked for and then kept. */
#pragma once
#include <plumb/backend.h>

int plumb_backend_open(const char *name, const struct plumb_backend **out);
