#include "cmd/run_folder.h"

#include <string.h>
#include <unistd.h>

#include "src/base/file.h"

int lx_run_enter_folder(lx_cli *cli, lx_store *store, const lx_run_row *run,
                        lx_error *err)
{
    lx_remark_row *facts;
    size_t n;
    int rc = lx_query_remarks(&facts, &n, store, run->seq, "fact", cli->arena, err);

    for (size_t i = 0; i < n && rc == LX_OK; i++)
        if (strcmp(facts[i].key, "cwd") == 0 && lx_file_is_dir(facts[i].value) &&
            chdir(facts[i].value) < 0)
            lx_message(cli, "note: it was started in %s, which cannot be entered\n",
                       lx_safe(cli, facts[i].value));
    return rc;
}
