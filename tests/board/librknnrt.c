/* A simulated librknnrt.so: a stand-in of Rockchip's C library, for tests of framebuf without a board.
 *
 * It holds the nine functions that rknn-toolkit-lite2 looks for. It reads the tensors from the model
 * file, and answers with means over stretches of the pixels, so that every slot of a batch has an
 * answer of its own: a picture in the wrong slot shows. It takes orders from the variable STANDIN
 * (where that begins with a slash, from the file of that name, as it is at the moment):
 *
 *   init=-6       rknn_init returns -6; so do mask=, query=, inputs=, run=, outputs=
 *   hang=run      that function never comes back; crash=run: it ends the process
 *   delay=20      a run takes 20 ms
 *   slots=copy    all slots answer as slot 0; swap: slots 0 and 1 are exchanged; second: slot 1 is
 *                 wrong; core: core 2 is five steps off
 *   outputs=nan   the first output begins with NaN in every slot
 *   driver=0.9.2  the version that is told
 *
 * `@5` after an order: only the fifth call of a context; `@5+`: from the fifth on. A space between two.
 * The layouts are those that the wheel's ctypes structures have on aarch64.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum { FAIL = -1, MALLOC_FAIL = -4, PARAM_INVALID = -5, MODEL_INVALID = -6, CTX_INVALID = -7,
       INPUT_INVALID = -8, OUTPUT_INVALID = -9 };
enum { FLOAT32 = 0, FLOAT16 = 1, INT8 = 2, UINT8 = 3 };
enum { QUERY_NUMBERS = 0, QUERY_INPUT = 1, QUERY_OUTPUT = 2, QUERY_VERSION = 5 };
enum { NHWC = 1, UNDEFINED = 3, AFFINE = 2, MOST_OUTPUTS = 8, CORE_2 = 4 };

typedef struct {
    uint32_t index, n_dims, dims[16];
    char name[256];
    uint32_t n_elems, size, fmt, type, quantised;
    int8_t fl;
    int32_t zp;
    float scale;
    uint32_t w_stride, size_with_stride;
    uint8_t pass_through;
    uint32_t h_stride;
} Attr;

typedef struct {
    uint32_t index;
    void *buf;
    uint32_t size;
    uint8_t pass_through;
    uint32_t type, fmt;
} Input;

typedef struct {
    uint8_t want_float, is_prealloc;
    uint32_t index;
    void *buf;
    uint32_t size;
} Output;

typedef struct {
    uint32_t batch, outputs, mask;
    unsigned sets, runs, gets;
    Attr input, output[MOST_OUTPUTS];
    uint8_t *pixels;
    float *answer[MOST_OUTPUTS];
} Context;

_Static_assert(sizeof(Attr) == 376 && sizeof(Input) == 32 && sizeof(Output) == 24, "aarch64 layout");

/* ---- what is said, in the vendor's form */

static void say(FILE *to, char level, const char *format, ...) {
    struct timespec now;
    struct tm day;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &day);
    char line[512]; /* in one piece: others write to the same descriptor */
    int begun = snprintf(line, sizeof line, "%c RKNN: [%02d:%02d:%02d.%03ld] ", level, day.tm_hour,
                         day.tm_min, day.tm_sec, now.tv_nsec / 1000000);
    va_list rest;
    va_start(rest, format);
    int written = vsnprintf(line + begun, sizeof line - begun - 1, format, rest);
    va_end(rest);
    strcat(line + (written > 0 ? begun : 0), "\n");
    fputs(line, to);
    fflush(to);
}

/* ---- orders */

static const char *orders(char file[512]) {
    const char *text = getenv("STANDIN");
    if (!text || text[0] != '/') return text;
    FILE *from = fopen(text, "rb");
    size_t size = from ? fread(file, 1, 511, from) : 0;
    if (from) fclose(from);
    file[size] = 0;
    return file;
}

/* The value of the order `what` where it holds for the nth call; NULL: none. */
static const char *order(const char *what, unsigned nth, char value[32]) {
    char file[512];
    const char *at = orders(file);
    size_t length = strlen(what);
    while (at && *at) {
        if (!strncmp(at, what, length) && at[length] == '=') {
            size_t size = strcspn(at + length + 1, " @");
            const char *end = at + length + 1 + size;
            unsigned when = *end == '@' ? strtoul(end + 1, (char **)&end, 10) : 0;
            if (!when || nth == when || (*end == '+' && nth > when)) {
                snprintf(value, 32, "%.*s", (int)size, at + length + 1);
                return value;
            }
        }
        at = strchr(at, ' ');
        at = at ? at + 1 : NULL;
    }
    return NULL;
}

/* What the function `name` must return on order; 0: go on. */
static int ordered(const char *name, unsigned nth) {
    char value[32];
    if (order("hang", nth, value) && !strcmp(value, name))
        for (;;) pause();
    if (order("crash", nth, value) && !strcmp(value, name)) abort();
    if (!order(name, nth, value) || value[0] != '-') return 0;
    say(stderr, 'E', "simulated: rknn_%s fails on order, code %s", name, value);
    return atoi(value);
}

/* ---- the model file: a FlatBuffer after a header; nothing outside of it is read */

typedef struct { const uint8_t *bytes; uint32_t size; } File;

static uint32_t word(File f, uint32_t at) {
    uint32_t value = 0;
    if (at <= f.size && f.size - at >= 4) memcpy(&value, f.bytes + at, 4);
    return value;
}

static uint32_t half(File f, uint32_t at) { return word(f, at) & 0xffff; }

/* Where a field of a table lies; 0: it is left out. */
static uint32_t field(File f, uint32_t table, unsigned slot) {
    uint32_t vtable = table - word(f, table), offset = 4 + 2 * slot;
    uint32_t relative = offset < half(f, vtable) ? half(f, vtable + offset) : 0;
    return relative ? table + relative : 0;
}

/* What an offset points to: a table, or the length of a vector, after which its items lie. */
static uint32_t follow(File f, uint32_t at) { return at ? at + word(f, at) : 0; }

static void text(File f, uint32_t at, char *into, uint32_t room) {
    uint32_t length = word(f, at);
    into[0] = 0;
    if (at && length < room && at + 4 + length <= f.size) {
        memcpy(into, f.bytes + at + 4, length);
        into[length] = 0;
    }
}

static void read_tensor(File f, uint32_t table, uint32_t index, uint32_t batch, Attr *attr) {
    uint32_t shape = follow(f, field(f, table, 4)), scale = follow(f, field(f, table, 10));
    uint32_t zero = follow(f, field(f, table, 11)), onnx = field(f, table, 0);
    attr->index = index;
    attr->n_dims = word(f, shape) < 16 ? word(f, shape) : 16;
    for (uint32_t axis = 0; axis < attr->n_dims; axis++) attr->dims[axis] = word(f, shape + 4 + 4 * axis);
    attr->dims[0] *= batch;
    text(f, follow(f, field(f, table, 5)), attr->name, sizeof attr->name);
    attr->type = onnx && f.bytes[onnx] == 3 ? INT8 : FLOAT16; /* ONNX: 3 is int8, 10 float16 */
    attr->quantised = attr->type == INT8 ? AFFINE : 0;
    uint32_t bits = word(f, scale + 4);
    if (scale && word(f, scale)) memcpy(&attr->scale, &bits, 4);
    if (zero && word(f, zero)) attr->zp = (int32_t)word(f, zero + 4);
    attr->fmt = UNDEFINED;
    attr->n_elems = attr->n_dims ? 1 : 0;
    for (uint32_t axis = 0; axis < attr->n_dims; axis++) attr->n_elems *= attr->dims[axis];
    attr->size = attr->n_elems * (attr->type == INT8 ? 1 : 2);
}

static void as_picture(Attr *attr) { /* the file has it as NCHW, the library as NHWC */
    uint32_t channels = attr->dims[1];
    attr->dims[1] = attr->dims[2];
    attr->dims[2] = attr->dims[3];
    attr->dims[3] = channels;
    attr->fmt = NHWC;
    attr->w_stride = attr->dims[2];
}

/* Whether this board's device tree has the model's platform among its names. */
static int fits_board(const char *platform) {
    char names[512] = "", *at;
    FILE *file = fopen("/proc/device-tree/compatible", "rb");
    size_t size = file ? fread(names, 1, sizeof names - 1, file) : 0;
    if (file) fclose(file);
    for (at = names; at < names + size; at += strlen(at) + 1)
        if (strstr(at, platform)) return 1;
    return 0;
}

static int read_model(const uint8_t *bytes, uint32_t size, Context *context) {
    char number[16], platform[32];
    File whole = {bytes, size};
    uint32_t header = (word(whole, 8) & 0xff) > 1 ? 64 : 24, length = word(whole, 16);
    if (size < 64 || memcmp(bytes, "RKNN", 4) || length > size - header) {
        say(stderr, 'E', "parseRKNN from buffer: Invalid RKNN format!");
        return FAIL;
    }
    File f = {bytes + header, length};
    uint32_t root = word(f, 0), graph = follow(f, follow(f, field(f, root, 2)) + 4);
    uint32_t tensors = follow(f, field(f, graph, 0));
    uint32_t ins = follow(f, field(f, graph, 2)), outs = follow(f, field(f, graph, 3));
    text(f, follow(f, field(f, root, 8)), platform, sizeof platform);
    if (!fits_board(platform)) {
        say(stderr, 'E', "The rknn model does not match the RKNPU hardware version!");
        return FAIL;
    }
    text(f, follow(f, field(f, root, 14)), number, sizeof number);
    context->batch = atoi(number) > 1 ? atoi(number) : 1;
    context->outputs = word(f, outs);
    if (word(f, ins) != 1 || !context->outputs || context->outputs > MOST_OUTPUTS) return MODEL_INVALID;
    uint32_t at = tensors + 4 + 4 * word(f, ins + 4);
    read_tensor(f, follow(f, at), 0, context->batch, &context->input);
    if (context->input.n_dims != 4 || !context->input.n_elems) return MODEL_INVALID;
    as_picture(&context->input);
    for (uint32_t i = 0; i < context->outputs; i++) {
        at = tensors + 4 + 4 * word(f, outs + 4 + 4 * i);
        read_tensor(f, follow(f, at), i, context->batch, &context->output[i]);
        if (!context->output[i].n_elems) return MODEL_INVALID;
    }
    return 0;
}

/* ---- the nine functions */

EXPORT int rknn_destroy(uint64_t handle) {
    Context *context = (Context *)handle;
    if (!context) return CTX_INVALID;
    for (uint32_t i = 0; i < context->outputs; i++) free(context->answer[i]);
    free(context->pixels);
    free(context);
    return 0;
}

EXPORT int rknn_init(uint64_t *handle, void *model, uint32_t size, uint32_t flag, void *extend) {
    char value[32];
    (void)flag, (void)extend;
    say(stdout, 'I', "RKNN Runtime Information: librknnrt version: 2.5.0 (simulated stand-in)");
    int code = ordered("init", 1);
    if (code) return code;
    int node = open("/dev/dri/renderD129", O_RDWR); /* access(2) looks past qemu's -L */
    if (node < 0) {
        say(stderr, 'E', "failed to open rknpu module, need to insmod rknpu dirver!");
        say(stderr, 'E', "failed to open rknn device!");
        return FAIL;
    }
    close(node);
    const char *driver = order("driver", 1, value);
    say(stdout, 'I', "RKNN Driver Information: version: %s", driver ? driver : "0.9.8");
    Context *context = calloc(1, sizeof *context);
    if (!context) return MALLOC_FAIL;
    code = read_model(model, size, context);
    if (code) {
        say(stderr, 'E', "rknn_init, load model failed!");
        free(context);
        return code;
    }
    context->pixels = calloc(context->input.n_elems, 1);
    for (uint32_t i = 0; i < context->outputs; i++)
        context->answer[i] = calloc(context->output[i].n_elems, sizeof(float));
    *handle = (uint64_t)context;
    return 0;
}

EXPORT int rknn_set_core_mask(uint64_t handle, uint32_t mask) {
    Context *context = (Context *)handle;
    int code = ordered("mask", 1);
    if (code) return code;
    if (mask && context->batch > 1)
        say(stderr, 'W', "core mask %u is invalid for batch size %u, fall back to CORE_AUTO", mask,
            context->batch);
    context->mask = mask;
    return 0;
}

EXPORT int rknn_set_input_shapes(uint64_t handle, uint32_t n, Attr *attr) {
    (void)handle, (void)n, (void)attr;
    return PARAM_INVALID; /* no dynamic shapes here */
}

EXPORT int rknn_query(uint64_t handle, int command, void *info, uint32_t size) {
    Context *context = (Context *)handle;
    char value[32];
    int code = ordered("query", 1);
    if (code) return code;
    if (!context) return CTX_INVALID;
    if (command == QUERY_VERSION && size == 512) {
        const char *driver = order("driver", 1, value);
        snprintf(info, 256, "2.5.0 (simulated stand-in)");
        snprintf((char *)info + 256, 256, "%s", driver ? driver : "0.9.8");
        return 0;
    }
    if (command == QUERY_NUMBERS && size == 8) {
        memcpy(info, (uint32_t[]){1, context->outputs}, 8);
        return 0;
    }
    if ((command == QUERY_INPUT || command == QUERY_OUTPUT) && size == sizeof(Attr)) {
        uint32_t index = ((Attr *)info)->index;
        if (index >= (command == QUERY_INPUT ? 1 : context->outputs)) return PARAM_INVALID;
        memcpy(info, command == QUERY_INPUT ? &context->input : &context->output[index], size);
        return 0;
    }
    return PARAM_INVALID;
}

EXPORT int rknn_inputs_set(uint64_t handle, uint32_t n, Input *inputs) {
    Context *context = (Context *)handle;
    int code = ordered("inputs", ++context->sets);
    if (code) return code;
    if (n != 1 || inputs[0].index || inputs[0].type != UINT8 || inputs[0].fmt != NHWC) {
        say(stderr, 'E', "simulated: one uint8 NHWC input is all that the stand-in takes");
        return INPUT_INVALID;
    }
    if (inputs[0].size < context->input.n_elems) {
        say(stderr, 'E', "rknn_inputs_set, param input size(%u) < model input size(%u)",
            inputs[0].size, context->input.n_elems);
        return PARAM_INVALID;
    }
    memcpy(context->pixels, inputs[0].buf, context->input.n_elems);
    return 0;
}

/* Which slot's pixels are answered in a slot. */
static uint32_t answered(const Context *context, uint32_t slot) {
    char vice[32];
    if (!order("slots", context->runs, vice)) return slot;
    if (!strcmp(vice, "copy")) return 0;
    if (!strcmp(vice, "swap") && context->batch > 1 && slot < 2) return 1 - slot;
    if (!strcmp(vice, "second") && slot == 1) return context->batch - 1 > 1 ? context->batch - 1 : 0;
    return slot;
}

/* Element i: the mean of the i-th stretch of the slot's pixels, as a value of the tensor's type. */
static void compute(Context *context, const Attr *attr, float *answer) {
    uint32_t pixels = context->input.n_elems / context->batch, count = attr->n_elems / context->batch;
    char vice[32];
    int off = order("slots", context->runs, vice) && !strcmp(vice, "core") && context->mask == CORE_2;
    for (uint32_t slot = 0; slot < context->batch; slot++) {
        const uint8_t *from = context->pixels + (uint64_t)answered(context, slot) * pixels;
        for (uint32_t i = 0; i < count; i++) {
            uint32_t first = (uint64_t)i * pixels / count, end = (uint64_t)(i + 1) * pixels / count;
            uint64_t sum = 0;
            for (uint32_t at = first; at < end; at++) sum += from[at];
            float mean = end > first ? (float)sum / (end - first) : 0;
            float real = mean / 255;
            if (attr->type == INT8) real = ((int)(mean + 0.5f) - 128 + 5 * off - attr->zp) * attr->scale;
            answer[slot * count + i] = real;
        }
    }
}

EXPORT int rknn_run(uint64_t handle, void *extend) {
    Context *context = (Context *)handle;
    char value[32];
    (void)extend;
    int code = ordered("run", ++context->runs);
    if (code) return code;
    if (order("delay", context->runs, value)) usleep(1000 * atoi(value));
    for (uint32_t i = 0; i < context->outputs; i++)
        compute(context, &context->output[i], context->answer[i]);
    if (order("outputs", context->runs, value) && !strcmp(value, "nan"))
        for (uint32_t slot = 0; slot < context->batch; slot++)
            context->answer[0][slot * (context->output[0].n_elems / context->batch)] = __builtin_nanf("");
    return 0;
}

EXPORT int rknn_outputs_get(uint64_t handle, uint32_t n, Output *outputs, void *extend) {
    Context *context = (Context *)handle;
    (void)extend;
    int code = ordered("outputs", ++context->gets);
    if (code) return code;
    if (n != context->outputs) return OUTPUT_INVALID;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t bytes = context->output[i].n_elems * sizeof(float);
        if (!outputs[i].want_float || (outputs[i].is_prealloc && outputs[i].size < bytes))
            return OUTPUT_INVALID;
        if (!outputs[i].is_prealloc) outputs[i].buf = malloc(bytes);
        if (!outputs[i].buf) return MALLOC_FAIL;
        outputs[i].size = bytes;
        memcpy(outputs[i].buf, context->answer[i], bytes);
    }
    return 0;
}

EXPORT int rknn_outputs_release(uint64_t handle, uint32_t n, Output *outputs) {
    (void)handle;
    for (uint32_t i = 0; i < n; i++)
        if (!outputs[i].is_prealloc) {
            free(outputs[i].buf);
            outputs[i].buf = NULL;
        }
    return 0;
}
