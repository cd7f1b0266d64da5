/* What outboard.c does with vectors of LANES words: so many inputs of equal length are compressed at a time, one in
   each lane. Included once for each width. */

#define vector OWN(vector)
typedef uint32_t vector __attribute__((vector_size(4 * LANES)));

/* The lanes that a step of a transposition takes from two rows, the second's counted from LANES on. */
#if LANES == 16
static const vector OWN(LOW)[4] = {
    {0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30},
    {0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29},
    {0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27},
    {0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23},
};
static const vector OWN(HIGH)[4] = {
    {1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31},
    {2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31},
    {4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31},
    {8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31},
};
#elif LANES == 8
static const vector OWN(LOW)[3] = {{0, 8, 2, 10, 4, 12, 6, 14}, {0, 1, 8, 9, 4, 5, 12, 13}, {0, 1, 2, 3, 8, 9, 10, 11}};
static const vector OWN(HIGH)[3] = {{1, 9, 3, 11, 5, 13, 7, 15}, {2, 3, 10, 11, 6, 7, 14, 15}, {4, 5, 6, 7, 12, 13, 14, 15}};
#else
static const vector OWN(LOW)[2] = {{0, 4, 2, 6}, {0, 1, 4, 5}};
static const vector OWN(HIGH)[2] = {{1, 5, 3, 7}, {2, 3, 6, 7}};
#endif

/* As many rows as a row has words become columns: word i of row j goes to lane j of row i. */
INLINE void OWN(transpose)(vector *rows) {
#pragma GCC unroll 4
    for (int step = 0; 1 << step < LANES; step++) {
        const int apart = 1 << step;
#pragma GCC unroll 16
        for (int row = 0; row < LANES; row++) {
            if (row & apart) continue;
            const vector a = rows[row], b = rows[row + apart];
            rows[row] = __builtin_shuffle(a, b, OWN(LOW)[step]);
            rows[row + apart] = __builtin_shuffle(a, b, OWN(HIGH)[step]);
        }
    }
}

/* Rotations of every word to the right. AVX2 has none, and moves bytes at once. */
#undef ROTATED
#undef ROTATED_8
#undef ROTATED_16
#define ROTATED(v, n) (((v) >> (n)) | ((v) << (32 - (n))))
#if LANES == 8
typedef uint8_t bytes_8 __attribute__((vector_size(32)));
static const bytes_8 BY_8 = {1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12,
                             17, 18, 19, 16, 21, 22, 23, 20, 25, 26, 27, 24, 29, 30, 31, 28};
static const bytes_8 BY_16 = {2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13,
                              18, 19, 16, 17, 22, 23, 20, 21, 26, 27, 24, 25, 30, 31, 28, 29};
#define ROTATED_8(v) ((vector)__builtin_shuffle((bytes_8)(v), BY_8))
#define ROTATED_16(v) ((vector)__builtin_shuffle((bytes_8)(v), BY_16))
#else
#define ROTATED_8(v) ROTATED(v, 8)
#define ROTATED_16(v) ROTATED(v, 16)
#endif

INLINE vector OWN(all)(uint32_t value) {
    return (vector){0} + value;
}

#undef MIX
#define MIX(a, b, c, d, x, y)                                                                                          \
    do {                                                                                                               \
        a += b + (x), d = ROTATED_16(d ^ a), c += d, b = ROTATED(b ^ c, 12);                                          \
        a += b + (y), d = ROTATED_8(d ^ a), c += d, b = ROTATED(b ^ c, 7);                                            \
    } while (0)

INLINE void OWN(compress)(vector h[WORDS], const vector m[16], vector counter, uint32_t flags) {
    vector v[16];
    for (int i = 0; i < WORDS; i++) v[i] = h[i];
    for (int i = 0; i < 4; i++) v[8 + i] = OWN(all)(START[i]);
    v[12] = counter, v[13] = OWN(all)(0), v[14] = OWN(all)(INPUT), v[15] = OWN(all)(flags);
#pragma GCC unroll 7
    for (int r = 0; r < 7; r++) {
        const uint8_t *s = ORDER[r];
        MIX(v[0], v[4], v[8], v[12], m[s[0]], m[s[1]]);
        MIX(v[1], v[5], v[9], v[13], m[s[2]], m[s[3]]);
        MIX(v[2], v[6], v[10], v[14], m[s[4]], m[s[5]]);
        MIX(v[3], v[7], v[11], v[15], m[s[6]], m[s[7]]);
        MIX(v[0], v[5], v[10], v[15], m[s[8]], m[s[9]]);
        MIX(v[1], v[6], v[11], v[12], m[s[10]], m[s[11]]);
        MIX(v[2], v[7], v[8], v[13], m[s[12]], m[s[13]]);
        MIX(v[3], v[4], v[9], v[14], m[s[14]], m[s[15]]);
    }
    for (int i = 0; i < WORDS; i++) h[i] = v[i] ^ v[i + 8];
}

/* The 16 words at `at` of all inputs as columns. What comes next is asked for: sixteen streams are too many for a
   processor to notice, and without it this takes half as long again. */
INLINE void OWN(load)(const uint8_t *const in[LANES], int at, vector m[16]) {
#pragma GCC unroll 4
    for (int part = 0; part < 16 / LANES; part++) {
        for (int lane = 0; lane < LANES; lane++)
            memcpy(&m[part * LANES + lane], in[lane] + at + part * sizeof(vector), sizeof(vector));
        OWN(transpose)(m + part * LANES);
    }
    for (int lane = 0; lane < LANES; lane++) __builtin_prefetch(in[lane] + at + 4 * INPUT);
}

/* The chaining values of LANES inputs, of each `inputs` times 64 bytes. */
static void OWN(hash_lanes)(const uint8_t *const in[LANES], int inputs, const uint32_t counter[LANES], uint32_t first,
                            uint32_t each, uint32_t last, uint8_t *out) {
    vector m[16], counters, h[LANES > WORDS ? LANES : WORDS];
    memcpy(&counters, counter, sizeof(counters));
    for (int i = 0; i < WORDS; i++) h[i] = OWN(all)(START[i]);
    for (int at = 0; at < inputs; at++) {
        OWN(load)(in, at * INPUT, m);
        OWN(compress)(h, m, counters, each | (at == 0 ? first : 0) | (at == inputs - 1 ? last : 0));
    }
    for (int i = WORDS; i < LANES; i++) h[i] = OWN(all)(0);
    const int taken = sizeof(vector) < VALUE ? sizeof(vector) : VALUE;
    for (int part = 0; part * taken < VALUE; part++) {
        OWN(transpose)(h + part * LANES);
        for (int lane = 0; lane < LANES; lane++)
            memcpy(out + lane * VALUE + part * taken, &h[part * LANES + lane], taken);
    }
}

/* The values of `count` nodes over pairs of the values that lie at `below`; `out` may be `below`. */
static void OWN(join)(const uint8_t *below, int count, uint32_t flags, uint8_t *out) {
    static const uint32_t NONE[LANES];
    for (int at = 0; at < count; at += LANES) {
        const int some = count - at < LANES ? count - at : LANES;
        const uint8_t *in[LANES];
        uint8_t values[LANES * VALUE];
        for (int i = 0; i < LANES; i++) in[i] = below + (at + (i < some ? i : 0)) * INPUT;
        OWN(hash_lanes)(in, 1, NONE, 0, PARENT | flags, 0, values);
        memcpy(out + at * VALUE, values, some * VALUE);
    }
}

/* The nodes over `count` blocks of 4 KiB that lie one after the other at `data`, and whose numbers in their chunk
   are `numbers`: each goes to its number's place in `outboard`. */
static void OWN(place)(const uint8_t *data, const uint16_t *numbers, int count, uint8_t *outboard) {
    for (int at = 0; at < count; at += LANES / PIECES) {
        const int some = (count - at < LANES / PIECES ? count - at : LANES / PIECES) * PIECES;
        const uint8_t *in[LANES];
        uint8_t values[LANES * VALUE];
        uint32_t counter[LANES];
        for (int i = 0; i < LANES; i++) {
            const int lane = i < some ? i : 0;
            in[i] = data + (size_t)at * BLOCK + lane * PIECE;
            counter[i] = numbers[at + lane / PIECES] * PIECES + lane % PIECES;
        }
        OWN(hash_lanes)(in, PIECE / INPUT, counter, CHUNK_START, 0, CHUNK_END, values);
        OWN(join)(values, some / 2, 0, values);
        OWN(join)(values, some / 4, 0, values);
        for (int i = 0; i < some / PIECES; i++)
            memcpy(outboard + numbers[at + i] * VALUE, values + i * VALUE, VALUE);
    }
}

static void OWN(root)(const uint8_t *outboard, int count, uint8_t *hash) {
    uint8_t values[MOST_BLOCKS / 2 * VALUE];
    const uint8_t *below = outboard;
    for (count /= 2; count > 1; count /= 2) OWN(join)(below, count, 0, values), below = values;
    OWN(join)(below, 1, ROOT, hash);
}

#undef vector
