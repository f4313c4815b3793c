/*
 * store/credentials - who we are to a git server, without asking anybody
 *
 *     ssh     the keys of an ssh agent, then ~/.ssh/id_ed25519, id_ecdsa and id_rsa as far as
 *             they have no passphrase. The server's key must be in ~/.ssh/known_hosts, which
 *             libgit2 checks.
 *     https   user and password of the address; else those of git's credential helpers
 *             (`git credential fill`), which are told whether they were right. Certificates
 *             are checked against the system's, GIT_SSL_CAINFO or SSL_CERT_FILE.
 *
 * Nothing is ever asked of the user: a terminal or a window that waits for an answer would
 * hang a script. Each kind is tried once a connection.
 *
 * Order of use: store__credentials_begin before each connection; store__credentials_get as
 * libgit2's callback, with the struct as its payload; store__credentials_worked after it;
 * store__credentials_release.
 */
#ifndef LX_STORE_CREDENTIALS_H
#define LX_STORE_CREDENTIALS_H

#include "store/git2_late.h"
#include <stdbool.h>

typedef struct store__credentials {
    bool is_agent_tried, is_helper_tried;
    int n_keys_tried;
    char *filled; /* what a helper said, in its own form; NULL = none */
} store__credentials;

void store__credentials_begin(store__credentials *c);
int store__credentials_get(git_credential **out, const char *url, const char *user,
                           unsigned allowed, void *credentials);
/* The connection was made with them. */
void store__credentials_worked(store__credentials *c);
void store__credentials_release(store__credentials *c);

/* Once: where certificates are that are not the system's. */
void store__credentials_certificates(void);

#endif
