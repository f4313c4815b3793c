/* Programs without the access checker. */
#include "tests/cuda_emulation/state.h"

namespace lx_emu
{

void check_block(bool, const void *, size_t)
{
}

void check_block_end()
{
}

void check_grid_end(const job &)
{
}

void check_shared(unsigned char *, size_t)
{
}

void check_allocated(void *, size_t)
{
}

void check_freed(void *, size_t)
{
}

void check_access(const void *, size_t, bool, const void *)
{
}

void check_async_begun(const void *, size_t, const void *)
{
}

void check_defined(const void *, size_t, bool)
{
}

void touch_atomic(const void *, size_t)
{
}

} // namespace lx_emu

bool lx_emu_is_checked(void)
{
    return false;
}
