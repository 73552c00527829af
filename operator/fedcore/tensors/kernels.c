/* What the hub does to every byte of a model, at the speed of memory. Called by kernels.py, which does the same without it.

   Sums of floats: every product and every sum is rounded by itself (IEEE 754), element by element. It is compiled with
   -ffp-contract=off and never with -ffast-math, so that the bits are those of numpy and of every other processor.
   Fingerprints are explained in fingerprint.py. Nothing here allocates or calls a library; what reads is given to it. */

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__)
/* One function for every processor that it may meet, chosen when the library is loaded. None of them fuses. */
#define WIDE __attribute__((target_clones("default", "avx2")))
#define BY_HAND
#include <immintrin.h>
#else
#define WIDE
#endif

#define INTERFACE 4 /* as kernels.py has it: a library that was built from another source is not used */
#define CHUNK 1024  /* bytes of a fingerprint's inner sum */
#define WORDS (CHUNK / 4)

int fedloom_interface(void) { return INTERFACE; }

/* total += weight * block */
WIDE void fedloom_add_scaled_f32(float *restrict total, const float *restrict block, float weight, size_t items) {
    for (size_t i = 0; i < items; i++) {
        const float product = weight * block[i];
        total[i] = total[i] + product;
    }
}

WIDE void fedloom_add_scaled_f64(double *restrict total, const double *restrict block, double weight, size_t items) {
    for (size_t i = 0; i < items; i++) {
        const double product = weight * block[i];
        total[i] = total[i] + product;
    }
}

/* Adds squares to 16 sums, item i to that of i % 16: an order that is the same however wide a processor is. */
WIDE void fedloom_squares_f32(const float *restrict items, size_t count, double *restrict sums) {
    const size_t whole = count - count % 16;
    for (size_t i = 0; i < whole; i += 16)
        for (size_t j = 0; j < 16; j++)
            sums[j] = sums[j] + (double)items[i + j] * (double)items[i + j];
    for (size_t i = whole; i < count; i++)
        sums[i - whole] = sums[i - whole] + (double)items[i] * (double)items[i];
}

/* Whether no item is NaN or infinite: none has all bits of its exponent set. */
WIDE int fedloom_finite_f32(const uint32_t *items, size_t count) {
    uint32_t found = 0;
    for (size_t i = 0; i < count; i++)
        found |= (items[i] & 0x7F800000u) == 0x7F800000u;
    return !found;
}

typedef uint32_t word __attribute__((aligned(1), may_alias)); /* wherever it lies */

/* A secret: two factors for each word of a chunk, and what the factors of chunks are made of. */
struct key {
    uint32_t inner[2][WORDS];
    uint64_t outer[2];
};

/* SplitMix64 (Steele, Lea and Flood 2014); odd, so that no factor takes bits away. */
static uint64_t factor(uint64_t seed, uint64_t chunk) {
    uint64_t z = seed + (chunk + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (z ^ (z >> 31)) | 1;
}

/* The two inner sums of a chunk. With a total, what the chunk holds is added to it, each word loaded once for both. */
static void chunk_plain(const uint8_t *data, const struct key *key, uint64_t sums[2], float *total, float weight) {
    const word *words = (const word *)data;
    uint64_t first = 0, second = 0;
    for (size_t j = 0; j < WORDS; j++) {
        first += (uint64_t)words[j] * key->inner[0][j];
        second += (uint64_t)words[j] * key->inner[1][j];
    }
    sums[0] = first, sums[1] = second;
    if (total)
        fedloom_add_scaled_f32(total, (const float *)data, weight, WORDS);
}

#ifdef BY_HAND
/* The same: compilers find no way to multiply the odd words where they are, which takes them half as long again. */
__attribute__((target("avx2"))) static void chunk_avx2(
    const uint8_t *data, const struct key *key, uint64_t sums[2], float *total, float weight) {
    const __m256 weights = _mm256_set1_ps(weight);
    __m256i first = _mm256_setzero_si256(), second = first;
    for (size_t j = 0; j < WORDS; j += 8) {
        const __m256i even = _mm256_loadu_si256((const __m256i *)(data + 4 * j)), odd = _mm256_srli_epi64(even, 32);
        const __m256i one = _mm256_loadu_si256((const __m256i *)(key->inner[0] + j));
        const __m256i two = _mm256_loadu_si256((const __m256i *)(key->inner[1] + j));
        first = _mm256_add_epi64(first, _mm256_mul_epu32(even, one));
        second = _mm256_add_epi64(second, _mm256_mul_epu32(even, two));
        first = _mm256_add_epi64(first, _mm256_mul_epu32(odd, _mm256_srli_epi64(one, 32)));
        second = _mm256_add_epi64(second, _mm256_mul_epu32(odd, _mm256_srli_epi64(two, 32)));
        if (total) {
            const __m256 products = _mm256_mul_ps(weights, _mm256_castsi256_ps(even));
            _mm256_storeu_ps(total + j, _mm256_add_ps(_mm256_loadu_ps(total + j), products));
        }
    }
    uint64_t lanes[2][4];
    _mm256_storeu_si256((__m256i *)lanes[0], first);
    _mm256_storeu_si256((__m256i *)lanes[1], second);
    for (int i = 0; i < 2; i++)
        sums[i] = lanes[i][0] + lanes[i][1] + lanes[i][2] + lanes[i][3];
}
#endif

static void chunk_of(const uint8_t *data, const struct key *key, uint64_t sums[2], float *total, float weight) {
#ifdef BY_HAND
    if (__builtin_cpu_supports("avx2")) {
        chunk_avx2(data, key, sums, total, weight);
        return;
    }
#endif
    chunk_plain(data, key, sums, total, weight);
}

/* Adds to `sums` what bytes that lie at `offset` of an object add to its fingerprint; with a total, what they hold to that,
   too: then they are whole floats, and so is the offset. `first`: the total is zero before, whatever it was. */
static void noted(const uint8_t *data, size_t bytes, uint64_t offset, const struct key *key, uint64_t *sums,
                  float *total, float weight, int first) {
    uint64_t inner[2];
    while (bytes) {
        const size_t begin = offset % CHUNK, size = bytes < CHUNK - begin ? bytes : CHUNK - begin;
        if (total && first)
            __builtin_memset(total, 0, size);
        if (size == CHUNK)
            chunk_of(data, key, inner, total, weight);
        else { /* zeros add nothing: the parts of a chunk may come in any order */
            uint8_t padded[CHUNK] = {0};
            __builtin_memcpy(padded + begin, data, size);
            chunk_of(padded, key, inner, NULL, 0);
            if (total)
                fedloom_add_scaled_f32(total, (const float *)data, weight, size / 4);
        }
        for (int i = 0; i < 2; i++)
            sums[i] += inner[i] * factor(key->outer[i], offset / CHUNK);
        data += size, offset += size, bytes -= size;
        if (total)
            total += size / 4;
    }
}

void fedloom_fingerprint(const uint8_t *data, size_t bytes, uint64_t offset, const struct key *key, uint64_t *sums) {
    noted(data, bytes, offset, key, sums, NULL, 0, 0);
}

/* As pread: bytes, fewer or none at the end, negative where it fails. */
typedef ptrdiff_t reads(int file, void *buffer, size_t bytes, int64_t offset);

/* A term of a sum that is read: from where, how much it counts, and what its bytes add to the file's fingerprint. */
struct term {
    uint64_t offset;
    int32_t file;
    float weight;
    uint64_t sums[2];
};

static int filled(reads *read, const struct term *term, uint8_t *room, size_t bytes) {
    for (size_t done = 0; done < bytes;) {
        const ptrdiff_t count = read(term->file, room + done, bytes - done, (int64_t)(term->offset + done));
        if (count <= 0)
            return 0;
        done += (size_t)count;
    }
    return 1;
}

/* total = the sum of weight * what the file has, term after term. Each is read into memory of this process's own, and then noted and
   added: what is summed is what was noted, whoever writes to the file. How many terms are done: the next cannot be read. */
size_t fedloom_sum_read_f32(reads *read, struct term *terms, size_t count, uint8_t *room, const struct key *key,
                            float *total, size_t items) {
    for (size_t t = 0; t < count; t++) {
        struct term *term = terms + t;
        if (!filled(read, term, room, 4 * items))
            return t;
        const int together = term->offset % 4 == 0; /* words of the file and floats are the same */
        noted(room, 4 * items, term->offset, key, term->sums, together ? total : NULL, term->weight, t == 0);
        if (!together) {
            if (t == 0)
                __builtin_memset(total, 0, 4 * items);
            fedloom_add_scaled_f32(total, (const float *)room, term->weight, items);
        }
    }
    return count;
}

#define TILE 256 /* items of a row at a time: those of tens of rows stay in a processor's first caches */

static void ordered(int32_t *const *rows, size_t count, size_t start, size_t items) {
    for (size_t r = 0; r < count; r++) {
        int32_t *row = rows[r] + start;
        for (size_t i = 0; i < items; i++)
            row[i] ^= (row[i] >> 31) & 0x7FFFFFFF;
    }
}

/* Compared as integers of the same order, which compilers do many at a time whatever they are told of floats. */
WIDE static void ranked_plain(
    int32_t *const *rows, size_t count, const int32_t *pairs, size_t exchanges, size_t start, size_t items) {
    ordered(rows, count, start, items);
    for (size_t c = 0; c < exchanges; c++) {
        int32_t *restrict low = rows[pairs[2 * c]] + start, *restrict high = rows[pairs[2 * c + 1]] + start;
        for (size_t i = 0; i < items; i++) {
            const int32_t a = low[i], b = high[i];
            low[i] = a < b ? a : b;
            high[i] = a < b ? b : a;
        }
    }
    ordered(rows, count, start, items);
}

#ifdef BY_HAND
/* As floats: without NaN and negative zeros it is the same order, and no item is changed to and fro. Of a whole tile. */
__attribute__((target("avx2"))) static void ranked_avx2(
    int32_t *const *rows, const int32_t *pairs, size_t exchanges, size_t start) {
    for (size_t c = 0; c < exchanges; c++) {
        float *low = (float *)rows[pairs[2 * c]] + start, *high = (float *)rows[pairs[2 * c + 1]] + start;
        for (size_t i = 0; i < TILE; i += 8) {
            const __m256 a = _mm256_loadu_ps(low + i), b = _mm256_loadu_ps(high + i);
            _mm256_storeu_ps(low + i, _mm256_min_ps(a, b));
            _mm256_storeu_ps(high + i, _mm256_max_ps(a, b));
        }
    }
}
#endif

/* Sorts rows of floats without NaN and without negative zeros, item by item: of each pair of rows in turn the first gets the
   smaller items. */
void fedloom_rank_f32(int32_t *const *rows, size_t count, const int32_t *pairs, size_t exchanges, size_t items) {
    for (size_t start = 0; start < items; start += TILE) {
        const size_t size = items - start < TILE ? items - start : TILE;
#ifdef BY_HAND
        if (size == TILE && __builtin_cpu_supports("avx2")) {
            ranked_avx2(rows, pairs, exchanges, start);
            continue;
        }
#endif
        ranked_plain(rows, count, pairs, exchanges, start, size);
    }
}
