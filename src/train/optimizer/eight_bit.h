/*
 * train/optimizer/eight_bit - numbers as codes of 8 bits, block by block
 */
#ifndef LX_TRAIN_OPTIMIZER_EIGHT_BIT_H
#define LX_TRAIN_OPTIMIZER_EIGHT_BIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LX_EIGHT_BIT_BLOCK = 256 };

/* The 256 values of the dynamic map, rising. */
void lx_eight_bit_map(float map[256], bool is_signed);
/* n <= LX_EIGHT_BIT_BLOCK numbers to codes of x / *largest, and back. */
void lx_eight_bit_pack(uint8_t *codes, float *largest, const float *x, size_t n,
                       const float map[256]);
void lx_eight_bit_unpack(float *x, const uint8_t *codes, float largest, size_t n,
                         const float map[256]);

#endif
