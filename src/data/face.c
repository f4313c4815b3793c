#include "src/data/face.h"

#include <math.h>
#include <string.h>

#include "src/base/file.h"

/* A whole number that ends at `end`, with an underscore before it; *end moves there. */
static bool take_number(int *out, const char **end, const char *begin)
{
    const char *at = *end;
    long value = 0, place = 1;

    for (; at > begin && at[-1] >= '0' && at[-1] <= '9'; place *= 10, at--) {
        if (place > 100000)
            return false;
        value += place * (at[-1] - '0');
    }
    if (at == *end || at == begin || at[-1] != '_')
        return false;
    *out = (int)value;
    *end = at - 1;
    return true;
}

lx_face lx_face_of(const char *path, int width, int height)
{
    const char *name = lx_path_base(path),
               *end = name + strlen(name) - strlen(lx_path_ext(name));
    lx_face f;

    if (!take_number(&f.h, &end, name) || !take_number(&f.w, &end, name) ||
        !take_number(&f.y, &end, name) || !take_number(&f.x, &end, name) ||
        (f.w == 0 && f.h == 0) || f.x < 1 || f.x >= width || f.y >= height)
        return (lx_face){0};
    return f;
}

static double least(double a, double b)
{
    return a < b ? a : b;
}

static double most(double a, double b)
{
    return a > b ? a : b;
}

/* One of low .. high, all as likely. */
static int whole(double u, int low, int high)
{
    return low + (int)(u * (high - low + 1));
}

/* Where the picture begins along one side. */
static int start(int length, int centre, int picture, int face, int side, bool is_random,
                 bool is_range, const double u[2])
{
    int at = centre - picture / 2;

    if (is_random) {
        const int reach = length - centre > centre ? length - centre : centre;
        at += whole(u[0], 0, reach) + whole(u[1], 0, reach) - reach;
    } else if (is_range && face > side / 10 && face >= 40) {
        /* Python rounds -face / 20 down too. */
        at += whole(u[0], -((face + 19) / 20), face / 20);
    }
    if (at > length - picture)
        at = length - picture;
    return at < 0 ? 0 : at;
}

lx_face_crop lx_face_place(const lx_face *f, int image_w, int image_h, int picture_w,
                           int picture_h, const double range[2], bool is_random,
                           const lx_face_draws *u)
{
    const int face = f->w > f->h ? f->w : f->h;
    const int side = picture_w < picture_h ? picture_w : picture_h;
    const double cover = most((double)picture_h / image_h, (double)picture_w / image_w);
    const bool is_range = range[0] != range[1];
    double low = least(1, most(cover, side / (face * range[1])));
    double high = least(1, most(low, side / (face * range[0]))), scale;
    lx_face_crop c;

    if (image_w == picture_w && image_h == picture_h)
        return (lx_face_crop){image_w, image_h, 0, 0};
    scale = low >= high ? low : low + u->scale * (high - low);
    if (scale < cover)
        scale = cover;
    c.height = (int)(image_h * scale + 0.5);
    c.width = (int)(image_w * scale + 0.5);
    c.top = start(c.height, (int)(f->y * scale + 0.5), picture_h, face, side, is_random,
                  is_range, u->y);
    c.left = start(c.width, (int)(f->x * scale + 0.5), picture_w, face, side, is_random,
                   is_range, u->x);
    return c;
}
