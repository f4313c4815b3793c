#include "tests/cuda_emulation/ptx.h"

#include <map>
#include <string>

namespace lx_emu
{

static std::map<std::string, ptx_kernel> &table()
{
    static std::map<std::string, ptx_kernel>
        kernels; /* made by the first entry to come */
    return kernels;
}

ptx_entry::ptx_entry(const char *name, ptx_body body, size_t bytes)
{
    table()[name] = {body, bytes};
}

bool ptx_any()
{
    return !table().empty();
}

const ptx_kernel *ptx_find(const char *name)
{
    const auto i = table().find(name);
    return i == table().end() ? nullptr : &i->second;
}

} // namespace lx_emu
