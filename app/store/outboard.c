/* The inner nodes of BLAKE3 over blocks of 4 KiB: see outboard.py. Written after the BLAKE3 paper, section 2.

   outboard_lanes.h is compiled for vectors of 16, 8 and 4 lanes; the widest that the processor has is taken. It is
   written for GCC: other compilers lack __builtin_shuffle, and the product goes without what they cannot compile. */

#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the words of BLAKE3 are little-endian, and are taken here as they lie in memory"
#endif

#define WORDS 8          /* of a chaining value, 32 bits each */
#define VALUE 32         /* bytes of a chaining value */
#define INPUT 64         /* bytes that one compression takes */
#define PIECE 1024       /* bytes of what BLAKE3 calls a chunk: a leaf of its tree */
#define BLOCK 4096       /* bytes below one node of an outboard */
#define PIECES 4         /* of a block */
#define MOST_BLOCKS 1024 /* of a chunk of 4 MiB */

enum { CHUNK_START = 1, CHUNK_END = 2, PARENT = 4, ROOT = 8 };

static const uint32_t START[WORDS] = {0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
                                      0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19};

static const uint8_t ORDER[7][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8},
    {3, 4, 10, 12, 13, 2, 7, 14, 6, 5, 9, 0, 11, 15, 8, 1}, {10, 7, 12, 9, 14, 3, 13, 15, 4, 0, 11, 2, 5, 8, 1, 6},
    {12, 13, 9, 11, 15, 10, 14, 8, 7, 2, 5, 3, 0, 1, 6, 4}, {9, 14, 11, 5, 8, 12, 15, 1, 13, 3, 0, 10, 2, 6, 4, 7},
    {11, 15, 5, 0, 1, 9, 8, 6, 14, 10, 2, 12, 3, 4, 7, 13}};

#define INLINE static inline __attribute__((always_inline))
#define JOINED(name, lanes) name##_##lanes
#define NAMED(name, lanes) JOINED(name, lanes)
#define OWN(name) NAMED(name, LANES)

#define LANES 4
#include "outboard_lanes.h"
#undef LANES

#ifdef __x86_64__
#define HAS_WIDER

#pragma GCC push_options
#pragma GCC target("avx2")
#define LANES 8
#include "outboard_lanes.h"
#undef LANES
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f")
#define LANES 16
#include "outboard_lanes.h"
#undef LANES
#pragma GCC pop_options
#endif

static int most_lanes = 16;

static int lanes(void) {
#ifdef HAS_WIDER
    if (most_lanes >= 16 && __builtin_cpu_supports("avx512f")) return 16;
    if (most_lanes >= 8 && __builtin_cpu_supports("avx2")) return 8;
#endif
    return 4;
}

/* From now on use vectors of at most this many lanes; how many that makes. */
int outboard_lanes(int most) {
    most_lanes = most;
    return lanes();
}

#ifdef HAS_WIDER
#define WIDEST(name, ...)                                                                                              \
    switch (lanes()) {                                                                              \
    case 16: name##_16(__VA_ARGS__); break;                                                                            \
    case 8: name##_8(__VA_ARGS__); break;                                                                              \
    default: name##_4(__VA_ARGS__);                                                                                    \
    }
#else
#define WIDEST(name, ...) name##_4(__VA_ARGS__)
#endif

/* The hash of a chunk from its `count` nodes, a power of two from 2 to MOST_BLOCKS. */
void outboard_root(const uint8_t *outboard, int count, uint8_t *hash) {
    WIDEST(root, outboard, count, hash);
}

/* The nodes and the hash of a chunk of `count` blocks. */
void outboard_make(const uint8_t *data, int count, uint8_t *outboard, uint8_t *hash) {
    uint16_t numbers[MOST_BLOCKS];
    for (int i = 0; i < count; i++) numbers[i] = i;
    WIDEST(place, data, numbers, count, outboard);
    WIDEST(root, outboard, count, hash);
}

/* Turns the nodes of a chunk of `count` blocks into those of the chunk in which `changed` blocks, of these numbers, are
   what lies at `data`; and its hash. */
void outboard_patch(const uint8_t *data, const uint16_t *numbers, int changed, int count, uint8_t *outboard,
                    uint8_t *hash) {
    WIDEST(place, data, numbers, changed, outboard);
    WIDEST(root, outboard, count, hash);
}
