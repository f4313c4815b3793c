/* lx serve - recorded runs in a browser */
#include <malloc.h>
#include <string.h>
#include <time.h>

#include "cmd/cli.h"
#include "cmd/serve.h"
#include "src/serve/asset.h"
#include "src/serve/frame.h"

enum { PORT = 8417 };

struct serve_args {
    const char *host;
    int64_t port;
    bool has_port;
    lx_words names;
};

static const lx_option options[] = {
    {LX_OPTION_INT, 'p', "port", "N", "listen there (8417); 0 takes any that is free",
     offsetof(struct serve_args, port), (int)offsetof(struct serve_args, has_port)},
    LX_TEXT(struct serve_args, host, 0, "host", "ADDRESS",
            "of this machine, to listen at (127.0.0.1: nobody else can ask)"),
    LX_REPEAT(
        struct serve_args, names, 0, "allow-host", "NAME",
        "answer under this name too, as in box.lan or localhost:9000 (a tunnel); may "
        "be repeated"),
    LX_OPTION_END,
};

/* ---- which address is which page --------------------------------------------------- */

static int give_asset(lx_serve_reply *reply, lx_serve_view *view,
                      const lx_serve_request *request, lx_arena *arena, lx_error *err)
{
    lx_serve_asset asset = request->n_parts > 1 ? lx_serve_asset_find(request->parts[1])
                                                : LX_SERVE_ICON; /* /favicon.ico */

    (void)view;
    (void)arena;
    if (asset == LX_SERVE_ASSETS)
        return lx_fail(err, LX_ENOTFOUND, "there is no such file");
    lx_serve_asset_put(&reply->body, asset);
    reply->type = lx_serve_asset_type(asset);
    reply->is_lasting = lx_serve_value(request, "v") != NULL;
    return lx_str_check(&reply->body, err);
}

static const struct {
    const char *path; /* * is any one part */
    lx_serve_maker make;
} pages[] = {
    {"", lx_serve_runs_as_page},
    {"run/*", lx_serve_run_as_page},
    {"run/*/samples", lx_serve_samples_as_page},
    {"run/*/console", lx_serve_console_as_text},
    {"run/*/image/*", lx_serve_picture},
    {"run/*/sample/*", lx_serve_picture},
    {"compare", lx_serve_comparison_as_page},
    {"assets/*", give_asset},
    {"favicon.ico", give_asset},
    {"api/runs", lx_serve_runs_as_json},
    {"api/run/*", lx_serve_run_as_json},
    {"api/run/*/live", lx_serve_live},
    {"api/compare", lx_serve_comparison_as_json},
    {"api/changes", lx_serve_changes},
};

static bool is_page(const char *path, const lx_serve_request *request)
{
    for (size_t i = 0; i < request->n_parts; i++) {
        size_t n = strcspn(path, "/");
        if (!*path || ((n != 1 || *path != '*') &&
                       (strncmp(path, request->parts[i], n) || request->parts[i][n])))
            return false;
        path += n + (path[n] == '/');
    }
    return !*path;
}

static int handle(lx_serve_reply *reply, void *context, const lx_serve_request *request,
                  lx_arena *arena, lx_error *err)
{
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
        if (is_page(pages[i].path, request)) {
            int rc = pages[i].make(reply, context, request, arena, err);
            lx_store_rest(((lx_serve_view *)context)->store);
            return rc;
        }
    return lx_fail(err, LX_ENOTFOUND, "there is no such page");
}

static void apologise(lx_serve_reply *reply, void *context,
                      const lx_serve_request *request, const char *text)
{
    lx_str safe = LX_STR_INIT;

    (void)context;
    lx_escape_terminal(&safe, text, strlen(text), true);
    if (request->n_parts && strcmp(request->parts[0], "api") == 0) {
        reply->type = "application/json";
        lx_str_puts(&reply->body, "{\"error\":");
        lx_escape_json(&reply->body, lx_str_text(&safe), safe.len);
        lx_str_puts(&reply->body, "}\n");
    } else {
        lx_serve_frame_problem(&reply->body, reply->status, lx_str_text(&safe), NULL);
    }
    lx_str_release(&safe);
}

/* ---- the command ------------------------------------------------------------------- */

static int wait_for_stop(lx_error *err)
{
    const struct timespec while_ = {.tv_nsec = 100000000};

    while (!lx_signals_pending())
        nanosleep(&while_, NULL);
    (void)err;
    return LX_OK; /* being told to stop is how it ends */
}

static int serve(lx_cli *cli, lx_serve_view *view, const struct serve_args *args,
                 lx_error *err)
{
    const lx_serve_options o = {.host = args->host,
                                .port = args->has_port ? (int)args->port : PORT,
                                .names = args->names.items,
                                .n_names = args->names.count,
                                .handle = handle,
                                .apologise = apologise,
                                .context = view};
    lx_serve *server;
    int rc;

    lx_signals_install();
    if ((rc = lx_serve_start(&server, &o, err)) < 0) {
        if (rc == LX_EBUSY)
            lx_within(err, "--port N takes another one");
        return rc;
    }
    lx_print(cli, "%s\n", lx_serve_address(server));
    fflush(cli->out); /* whoever started it reads the port there */
    if (!cli->is_quiet)
        lx_message(cli, "runs of %s; Ctrl-C stops\n", lx_safe(cli, view->where));
    if (!lx_serve_is_local(server))
        lx_message(cli, "anyone who reaches this address can read all runs: there is no "
                        "password\n");
    rc = wait_for_stop(err);
    lx_serve_stop(server);
    return rc;
}

/* A page of a long training takes many megabytes for a moment, each in a thread of its own. glibc would keep a heap for
 * every thread, and learn from the first large block that it was freed to keep the next ones. */
static void give_back_memory(void)
{
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, 256 << 10);
    mallopt(M_TRIM_THRESHOLD, 1 << 20);
}

static int run(lx_cli *cli, void *args_, lx_error *err)
{
    const struct serve_args *args = args_;
    lx_serve_view view = {0};
    int rc;

    if (args->port < 0 || args->port > 65535)
        return lx_fail(err, LX_EUSAGE, "--port %lld: from 0 to 65535",
                       (long long)args->port);
    if (args->names.count > 8)
        return lx_fail(err, LX_EUSAGE, "--allow-host: at most 8 names");
    give_back_memory();
    cli->survives_oom = true; /* whoever asked got an error, others what they asked for */
    if ((rc = lx_store_open(&view.store, cli->store_path, true, err)) == LX_OK) {
        view.where = lx_store_path(view.store);
        if ((rc = lx_serve_tables_new(&view.tables, err)) == LX_OK &&
            (rc = lx_serve_darkroom_new(&view.darkroom, &view, err)) == LX_OK)
            rc = serve(cli, &view, args, err);
    }
    lx_serve_darkroom_free(view.darkroom);
    lx_serve_tables_free(view.tables);
    lx_store_close(view.store);
    return rc;
}

const lx_command lx_cmd_serve = {
    .name = "serve",
    .summary = "show the recorded runs in a browser, live",
    .usage = "",
    .help =
        "A table of all runs with a filter that follows as you type (the queries of lx "
        "runs), a page\n"
        "for every run with its curves, samples, data and LoRA files, live while it "
        "trains, and a\n"
        "comparison of those that you tick. It only reads, and fetches nothing from "
        "anywhere.\n"
        "\n"
        "Only this machine is answered, and only under the names localhost, 127.0.0.1 "
        "and [::1], so\n"
        "that no web page can read your runs. Over ssh -L 8417:localhost:8417 it is "
        "there as it is;\n"
        "with another port on your side, say so: --allow-host localhost:9000. --host "
        "0.0.0.0 answers\n"
        "everyone who reaches the machine: there is no password. Ctrl-C and SIGTERM end "
        "it, "
        "with exit\n"
        "status 0.\n"
        "\n"
        "Examples:\n"
        "  lx serve\n"
        "  lx serve --port 0 --store /data/runs\n"
        "  lx serve --host 192.168.1.20 --allow-host box.lan\n",
    .options = options,
    .args_size = sizeof(struct serve_args),
    .run = run,
};
