/* The program with the checking build of the CUDA sources linked in, in the place of the shared
 * library that it would open for --device cuda-sim. */
#include <plumb/backend.h>

int plumb_main(int argc, char **argv);
#define main plumb_main
#include "tools/main.c"
#undef main

int main(int argc, char **argv)
{
    if (plumb_backend_link(plumb_backend_v1)) return EXIT_FAILED;
    return plumb_main(argc, argv);
}
