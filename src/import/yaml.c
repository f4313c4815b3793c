#include "src/import/yaml.h"

#include <string.h>
#include <yaml.h>

#include "src/base/alloc.h"
#include "src/base/file.h"

/* One walk over the events of a document. */
typedef struct walk {
    int depth; /* 1: in the mapping at the top */
    char *key; /* waiting for its value */
    lx_yaml_pair pair;
    void *context;
} walk;

static int no_mapping(const yaml_event_t *e, lx_error *err)
{
    return lx_fail(err, LX_EFORMAT, "line %zu: a mapping of names to values is needed here",
                   e->start_mark.line + 1);
}

static int take_scalar(walk *w, const yaml_event_t *e, lx_error *err)
{
    const char *text = (const char *)e->data.scalar.value;
    bool is_plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    int rc;

    if (w->depth == 0 && e->data.scalar.length)
        return no_mapping(e, err);
    if (w->depth != 1)
        return LX_OK;
    if (!w->key)
        return (w->key = lx_strdup(text)) ? LX_OK : lx_oom(err);
    rc = w->pair(w->context, w->key, text, is_plain, err);
    lx_free(w->key);
    w->key = NULL;
    return rc;
}

/* An inner list or mapping stands where a value or a key would: the pair is passed over.
 */
static int take_event(walk *w, const yaml_event_t *e, lx_error *err)
{
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        return take_scalar(w, e, err);
    case YAML_SEQUENCE_START_EVENT:
        if (w->depth == 0)
            return no_mapping(e, err);
        /* fall through */
    case YAML_MAPPING_START_EVENT:
        w->depth++;
        if (w->depth > 64)
            return lx_fail(err, LX_ELIMIT, "nested deeper than 64");
        return LX_OK;
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        w->depth--;
        if (w->depth == 1) {
            lx_free(w->key);
            w->key = NULL;
        }
        return LX_OK;
    case YAML_ALIAS_EVENT:
        if (w->depth == 1) {
            lx_free(w->key);
            w->key = NULL;
        }
        return LX_OK;
    default:
        return LX_OK;
    }
}

static int walk_document(walk *w, yaml_parser_t *parser, lx_error *err)
{
    bool is_over = false;
    int rc = LX_OK;

    while (rc == LX_OK && !is_over) {
        yaml_event_t e;
        if (!yaml_parser_parse(parser, &e)) /* without a problem it had no memory */
            return parser->error == YAML_MEMORY_ERROR || !parser->problem
                       ? lx_oom(err)
                   : parser->error == YAML_READER_ERROR
                       ? lx_fail(err, LX_EFORMAT, "%s at byte %zu", parser->problem,
                                 parser->problem_offset)
                       : lx_fail(err, LX_EFORMAT, "line %zu: %s",
                                 parser->problem_mark.line + 1, parser->problem);
        is_over = e.type == YAML_STREAM_END_EVENT || e.type == YAML_DOCUMENT_END_EVENT;
        rc = take_event(w, &e, err);
        yaml_event_delete(&e);
    }
    return rc;
}

int lx_yaml_read(const char *path, lx_yaml_pair pair, void *context, lx_error *err)
{
    walk w = {.pair = pair, .context = context};
    lx_str text = LX_STR_INIT;
    yaml_parser_t parser;
    int rc = lx_file_read(&text, path, LX_YAML_BYTES, err);

    if (rc < 0)
        return rc;
    if (!yaml_parser_initialize(&parser)) {
        lx_str_release(&text);
        return lx_oom(err);
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)lx_str_text(&text),
                                 text.len);
    if ((rc = walk_document(&w, &parser, err)) < 0)
        lx_within(err, "%s", path);
    yaml_parser_delete(&parser);
    lx_free(w.key);
    lx_str_release(&text);
    return rc;
}

/* ---- flags ------------------------------------------------------------------------- */

typedef struct flags {
    lx_history *history;
    lx_history_run *run;
} flags;

static int add_flag(void *context, const char *key, const char *value, bool is_plain,
                    lx_error *err)
{
    flags *f = context;
    lx_history *h = f->history;
    const char *text = lx_history_text(h, value, strlen(value));

    (void)err;
    key = lx_history_text(h, key, strlen(key));
    if (!is_plain)
        lx_history_flag_item(h, f->run, key, cJSON_CreateString(text));
    else
        lx_history_flag(h, f->run, key,
                        strcmp(text, "null") == 0    ? "None"
                        : strcmp(text, "true") == 0  ? "True"
                        : strcmp(text, "false") == 0 ? "False"
                                                     : text);
    return LX_OK;
}

int lx_import_yaml_flags(lx_history *h, lx_history_run *run, const char *path,
                         lx_error *err)
{
    flags f = {h, run};
    lx_error damage = {0};
    int rc = lx_yaml_read(path, add_flag, &f, &damage);

    if (rc == LX_EFORMAT || rc == LX_ELIMIT) {
        lx_history_problem(h, "%s", damage.text);
        return LX_OK;
    }
    return lx_fail_as(err, rc, &damage);
}
