// Matrix products of weights with a scale and a minimum (Q4_1, Q5_1) by columns of Q8_1, for AVX2.
//
// Part of sgemm.cpp of llama.cpp, which has none for these types. Every element is summed in the
// order of ggml_vec_dot_q4_1_q8_1, so it does not depend on how many columns there are: a check of
// a whole answer in one pass gets bit for bit the numbers of its making token by token.

template <typename TA>
class MinimaTiles {
  public:
    MinimaTiles(int64_t k, const TA *A, int64_t lda, const block_q8_1 *B, int64_t ldb, float *C,
                    int64_t ldc, int ith, int nth)
        : A(A), B(B), C(C), k(k), lda(lda), ldb(ldb), ldc(ldc), ith(ith), nth(nth),
          quants(RM * QK8_1 * k), rows(2 * RM * k), columns(2 * RC * k) {
    }

    void matmul(int64_t m, int64_t n) {
        const int64_t panels = (m + RM - 1) / RM;
        const int64_t duty = (panels + nth - 1) / nth;
        const int64_t end = MIN(duty * (ith + 1), panels);
        for (int64_t jj = 0; jj < n; jj += RC) {
            const int64_t width = MIN(RC, n - jj);
            for (int64_t j = 0; j < width; ++j)
                take(jj + j, j);
            for (int64_t panel = duty * ith; panel < end; ++panel) {
                const int64_t ii = panel * RM;
                const int64_t height = MIN(RM, m - ii);
                for (int64_t i = 0; i < RM; ++i)
                    unpack(ii + MIN(i, height - 1), i);
                for (int64_t j = 0; j < width; j += RN)
                    tile(ii, height, jj, j, width - 1);
            }
        }
    }

  private:
    static constexpr int RM = 4;  // rows of a tile
    static constexpr int RN = 2;  // its columns
    static constexpr int RC = 60; // columns for which rows are unpacked once

    void take(int64_t column, int64_t j) {
        for (int64_t l = 0; l < k; ++l) {
            columns[j * k + l] = unhalf(B[ldb * column + l].d);
            columns[(RC + j) * k + l] = unhalf(B[ldb * column + l].s);
        }
    }

    void unpack(int64_t row, int64_t i) {
        for (int64_t l = 0; l < k; ++l) {
            const TA *a = A + lda * row + l;
            _mm256_storeu_si256((__m256i *)&quants[(l * RM + i) * QK8_1], load(a));
            rows[l * RM + i] = unhalf(a->d);
            rows[(k + l) * RM + i] = unhalf(a->m);
        }
    }

    // Four rows by one column. Not an array: the compiler keeps that in memory.
    struct Sums {
        __m256 a = {}, b = {}, c = {}, d = {};
    };

    // A last column without a neighbour is made twice.
    NOINLINE void tile(int64_t ii, int64_t height, int64_t jj, int64_t j0, int64_t last) {
        const int64_t j1 = MIN(j0 + 1, last);
        const block_q8_1 *const b0 = B + ldb * (jj + j0);
        const block_q8_1 *const b1 = B + ldb * (jj + j1);
        const float *const d0 = &columns[j0 * k];
        const float *const d1 = &columns[j1 * k];
        const uint8_t *a = quants.data();
        const float *da = rows.data();
        Sums s0, s1;
        for (int64_t l = 0; l < k; ++l, a += RM * QK8_1, da += RM) {
            const __m256 d = _mm256_broadcast_ps((const __m128 *)da);
            step(s0, a, _mm256_mul_ps(d, _mm256_broadcast_ss(d0 + l)), b0 + l);
            step(s1, a, _mm256_mul_ps(d, _mm256_broadcast_ss(d1 + l)), b1 + l);
        }
        store(s0, ii, height, jj, j0);
        store(s1, ii, height, jj, j1);
    }

    static inline void step(Sums &s, const uint8_t *a, __m256 d, const block_q8_1 *b) {
        const __m256i q = _mm256_loadu_si256((const __m256i *)b->qs);
        s.a = madd(_mm256_shuffle_ps(d, d, 0), dot(a, q), s.a);
        s.b = madd(_mm256_shuffle_ps(d, d, 85), dot(a + QK8_1, q), s.b);
        s.c = madd(_mm256_shuffle_ps(d, d, 170), dot(a + QK8_1 * 2, q), s.c);
        s.d = madd(_mm256_shuffle_ps(d, d, 255), dot(a + QK8_1 * 3, q), s.d);
    }

    static inline __m256 dot(const uint8_t *a, __m256i b) {
        return _mm256_cvtepi32_ps(_mm256_madd_epi16(
            _mm256_set1_epi16(1), _mm256_maddubs_epi16(_mm256_loadu_si256((const __m256i *)a), b)));
    }

    inline void store(const Sums &s, int64_t ii, int64_t height, int64_t jj, int64_t j) {
        __m128 minima = {};
        for (int64_t l = 0; l < k; ++l)
            minima = _mm_fmadd_ps(_mm_loadu_ps(&rows[(k + l) * RM]),
                                  _mm_broadcast_ss(&columns[(RC + j) * k + l]), minima);
        const __m128 dots = _mm_set_ps(hsum(s.d), hsum(s.c), hsum(s.b), hsum(s.a));
        float sums[RM];
        _mm_storeu_ps(sums, _mm_add_ps(dots, minima));
        memcpy(C + ldc * (jj + j) + ii, sums, height * sizeof(float));
    }

    static inline __m256i load(const block_q4_1 *b) {
        return nibbles(b->qs);
    }

    static inline __m256i load(const block_q5_1 *b) {
        uint32_t high;
        memcpy(&high, b->qh, sizeof(high));
        const __m256i bytes = _mm256_shuffle_epi8(
            _mm256_set1_epi32(high),
            _mm256_set_epi64x(0x0303030303030303, 0x0202020202020202, 0x0101010101010101, 0));
        const __m256i bits = _mm256_set1_epi64x(0x8040201008040201);
        const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bits), bits);
        return _mm256_or_si256(nibbles(b->qs), _mm256_and_si256(set, _mm256_set1_epi8(16)));
    }

    static inline __m256i nibbles(const uint8_t *p) {
        const __m128i x = _mm_loadu_si128((const __m128i *)p);
        return _mm256_and_si256(_mm256_set1_epi8(15), _mm256_set_m128i(_mm_srli_epi16(x, 4), x));
    }

    const TA *const A;
    const block_q8_1 *const B;
    float *const C;
    const int64_t k;
    const int64_t lda;
    const int64_t ldb;
    const int64_t ldc;
    const int ith;
    const int nth;
    std::vector<uint8_t> quants;
    std::vector<float> rows;
    std::vector<float> columns;
};
