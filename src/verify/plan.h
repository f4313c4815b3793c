/*
 * verify/plan - how many images, draws, prompts and tags a budget buys
 *
 * Cost is counted in UNet forwards of one draw. A prompt costs 2 K of them for an image:
 * K draws, by the base and by the LoRA. Images are bought first (they are the unit of
 * every test), then draws, then other constant tags alone, then tags. Without a budget: 20 images, 8 draws, four other
 * captions and a control word each, up to ten tags on ten images.
 *
 *     core of an image    2 K (2 + J + C + 1 + class): own caption, empty, J others, the
 *                         identifier replaced by C controls, the identifier alone
 *     other sets          2 K each image: held-out, class and foreign images
 *     strengths           K for each of 4 strengths on up to 8 images
 *     controls            K on up to 6 images (scrambled), 2 K (strength 0, noise floor)
 *     neutral             2 * 4 for each of 4 everyday prompts and up to 4 captions
 *     alone               2 K an image for each further constant tag alone, up to 3
 *     tags                2 K for each (tag, image)
 *
 * Which tags are constant is known once the images are chosen: lx_verify_plan_make counts on
 * none beside the identifier, lx_verify_plan_tags then says how many of them, and of the other
 * tags, what is left over buys.
 */
#ifndef LX_VERIFY_PLAN_H
#define LX_VERIFY_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"

enum {
    LX_N_STRENGTHS = 4, /* 0.5, 1.5, 2 and the best one */
    LX_N_NEUTRAL = 4,   /* everyday prompts, and as many captions to compare them with */
    LX_NEUTRAL_DRAWS = 4
};

typedef struct lx_verify_request {
    size_t n_found;  /* training images */
    size_t n_others; /* images of the other sets */
    bool has_class;  /* the folder's words are a prompt of their own */
    int64_t budget;  /* forwards; 0 = the standard plan */
    size_t images;   /* as the user asks; 0 = choose */
    int draws;       /* likewise; even */
    size_t tags;     /* likewise; SIZE_MAX = choose */
    size_t n_alone;  /* tags that could be tried alone, the identifier among them; 0 = not known yet */
} lx_verify_request;

typedef struct lx_verify_plan {
    size_t n_images;
    int n_draws;    /* K, even */
    int n_others;   /* J: captions of other images */
    int n_controls; /* C */
    size_t n_strength_images, n_control_images;
    size_t n_alone;              /* tags tried alone, the identifier among them; at most */
    size_t n_tags, n_tag_images; /* at most */
    int64_t cost;                /* of one LoRA and the base, at most */
} lx_verify_plan;

/* LX_EUSAGE when the budget is below the smallest plan, which is named. */
int lx_verify_plan_make(lx_verify_plan *out, const lx_verify_request *request,
                        lx_error *err);

/* No more training images than these: of pictures that are the same only one is there. */
void lx_verify_plan_limit(lx_verify_plan *plan, const lx_verify_request *request, size_t n_images);

/* n_alone, n_tags and cost anew, of a plan made from the same request but for its n_alone. */
void lx_verify_plan_tags(lx_verify_plan *plan, const lx_verify_request *request);

#endif
