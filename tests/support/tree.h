/*
 * support/tree - folders with all that is in them
 *
 * In this process: a test that begins thousands of times with a fresh copy of the same files would spend its
 * time starting rm and cp. A test fails where one of these does.
 */
#ifndef LX_TEST_TREE_H
#define LX_TEST_TREE_H

/* As cp -a: links stay links; modes and times of files are kept. `to` is not there yet. */
void lx_copy_tree(const char *from, const char *to);
/* As rm -rf: what is not there is gone already. */
void lx_remove_tree(const char *path);

#endif
