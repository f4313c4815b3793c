/*
 * image/decode_protocol - what decoder and worker say to each other
 *
 * Over one SOCK_SEQPACKET pair, both ends on this machine and of one binary. The request carries
 * two descriptors: the image, open for reading, and the shared memory for the pixels. The worker
 * opens no file itself. The answer is one message. A worker's first message is an answer that nobody
 * asked for: it is ready.
 */
#ifndef LX_IMAGE_DECODE_PROTOCOL_H
#define LX_IMAGE_DECODE_PROTOCOL_H

#include <stdint.h>

#include "src/image/header.h"

enum { LX_DECODE_FD = 3 /* of the socket in a worker that was executed */ };

typedef struct lx_decode_request {
    lx_image_header header; /* as the parent read it: the pixels must agree */
    uint64_t memory;        /* bytes of it: width * height * 4 */
} lx_decode_request;

typedef struct lx_decode_answer {
    int32_t code;     /* 0 or LX_E... */
    int32_t channels; /* 3, or 4 with straight alpha */
    char text[400];
} lx_decode_answer;

#endif
