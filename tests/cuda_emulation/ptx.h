/*
 * cuda_emulation/ptx - kernels as nvcc compiled them
 *
 * A program that links translated PTX (ptx_translate.c) runs those bodies in place of the C++ ones:
 * the launch looks for the kernel's name here.
 */
#ifndef LX_CUDA_EMULATION_PTX_H
#define LX_CUDA_EMULATION_PTX_H

#include <cstddef>

namespace lx_emu
{

typedef void (*ptx_body)(const unsigned char *parameters);

struct ptx_kernel {
    ptx_body body;
    size_t bytes; /* of its parameters */
};

bool ptx_any();
const ptx_kernel *ptx_find(const char *name); /* the mangled one */

/* A variable of this type per translated kernel. */
struct ptx_entry {
    ptx_entry(const char *name, ptx_body body, size_t bytes);
};

} // namespace lx_emu

#endif
