/* PyTorch's pickled weights (.bin, .pt, .pth): a program that runs when it is read, so they are not
 * read. */
#pragma once

/* PLUMB_ENOTSUP, with the command that makes safetensors of it, where the path is such a file or a
 * folder whose only weights are such files; PLUMB_OK for all else. */
int plumb_pickle_check(const char *path);
