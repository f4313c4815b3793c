/*
 * image/png_text - a PNG without its texts
 *
 * tEXt, zTXt and iTXt have no say in the pixels, but the library unpacks all of them before it gives one: 150 KB of
 * chunks become gigabytes. So they are left out of what it reads. Runs in the decoder's worker.
 */
#ifndef LX_IMAGE_PNG_TEXT_H
#define LX_IMAGE_PNG_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Whether the file has texts, and a copy without them could be made: *out, of *n bytes, is the caller's to free. All
 * other chunks stay as they are, damage included; from a chunk on that runs past the end of the file, nothing is left
 * out. What lies behind IEND is no part of the copy.
 */
bool lx_png_without_text(uint8_t **out, size_t *n, int fd);

#endif
