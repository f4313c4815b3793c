#include "src/image/jpeg.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h> /* wants stdio.h before it */
#include <jerror.h>

#include "src/base/alloc.h"
#include "src/image/resize.h"

/* libjpeg reports by calling back and must not return from that. */
typedef struct failure {
    struct jpeg_error_mgr manager; /* first: libjpeg hands out a pointer to it */
    jmp_buf back;
    bool is_memory;
    unsigned char *bytes; /* here, since locals do not survive the jump */
    unsigned long n;
} failure;

static void on_error(j_common_ptr info)
{
    failure *f = (failure *)info->err;
    f->is_memory = f->manager.msg_code == JERR_OUT_OF_MEMORY;
    longjmp(f->back, 1);
}

static void on_message(j_common_ptr info)
{
    (void)info;
}

int lx_jpeg_encode(lx_str *out, const lx_pixels *pixels, int quality, lx_error *err)
{
    struct jpeg_compress_struct jpeg;
    failure f = {0};
    int rc;

    if (pixels->channels != 3)
        return lx_fail(err, LX_EINTERNAL, "a JPEG has three channels, not %d",
                       pixels->channels);
    jpeg.err = jpeg_std_error(&f.manager);
    f.manager.error_exit = on_error;
    f.manager.output_message = on_message;
    if (setjmp(f.back)) {
        rc = f.is_memory ? lx_oom(err)
                         : lx_fail(err, LX_EINTERNAL, "the JPEG could not be made");
        goto done;
    }
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &f.bytes, &f.n);
    jpeg.image_width = (JDIMENSION)pixels->width;
    jpeg.image_height = (JDIMENSION)pixels->height;
    jpeg.input_components = 3;
    jpeg.in_color_space = JCS_RGB;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, quality, TRUE);
    jpeg.optimize_coding = TRUE;
    jpeg_start_compress(&jpeg, TRUE);
    while (jpeg.next_scanline < jpeg.image_height) {
        JSAMPROW row =
            pixels->data + (size_t)jpeg.next_scanline * (size_t)pixels->width * 3;
        jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
    lx_str_append(out, (const char *)f.bytes, f.n);
    rc = lx_str_check(out, err);
done:
    jpeg_destroy_compress(&jpeg);
    free(f.bytes);
    return rc;
}

int lx_thumbnail(lx_pixels *out, const lx_pixels *in, int side, lx_error *err)
{
    int longer = in->width > in->height ? in->width : in->height;
    int width = in->width, height = in->height;

    if (longer > side) {
        width = (int)((int64_t)in->width * side / longer);
        height = (int)((int64_t)in->height * side / longer);
    }
    return lx_resize(out, in, width > 0 ? width : 1, height > 0 ? height : 1,
                     LX_RESIZE_AREA, err);
}
