/* SPDX-License-Identifier: Apache-2.0 */
/* Templates: up to a newline the text, behind it what a variable holds. No control byte of it may come
 * through. */
#include "policy/transform.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_diag diag;
    struct sl_arena a;
    struct sl_template *t;
    const struct sl_slice all = sl_slice((const char *)data, size);
    const ssize_t line = sl_slice_chr(all, '\n');
    const struct sl_slice text = line < 0 ? all : sl_slice(all.p, (size_t)line);
    const struct sl_slice value =
        line < 0 ? SL_SLICE_NUL : sl_slice(all.p + line + 1, all.n - (size_t)line - 1);
    const struct sl_template_vars vars = {.host = value, .path = value, .query = value, .wall_ns = size};
    sl_diag_init(&diag);
    sl_arena_init(&a, 0);
    if (sl_template_new(text, NULL, &diag, &t) == 0) {
        const struct sl_slice out = sl_template_run(t, &vars, &a);
        if (!out.p || (sl_is_field_value(text) && !sl_is_field_value(out)))
            abort();
        sl_template_free(t);
    } else if (diag.errors == 0) {
        abort();
    }
    sl_arena_free(&a);
    sl_diag_free(&diag);
    return 0;
}
