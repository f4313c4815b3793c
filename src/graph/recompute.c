#include "src/graph/schedule.h"

int lx_schedule_recompute(lx_schedule *s, size_t max_bytes, lx_error *err)
{
    lx_placement p;
    int rc = lx_placement_init(&p, s, err);

    if (rc < 0)
        return rc;
    if (p.bytes > max_bytes)
        rc = lx_fail(err, LX_ELIMIT, "activations need %zu bytes, %zu more than allowed",
                     p.bytes, p.bytes - max_bytes);
    lx_placement_release(&p);
    return rc;
}
