// Text without libc, for the child. Callers size their buffers for the longest result.
#include "plan.h"

unsigned long text_length(const char *text) {
    unsigned long length = 0;
    while (text[length]) length++;
    return length;
}

char *text_append(char *at, const char *text) {
    while (*text) *at++ = *text++;
    *at = 0;
    return at;
}

char *text_append_number(char *at, uint64_t number, unsigned base) {
    char digits[24];
    int count = 0;
    do {
        digits[count++] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number);
    while (count) *at++ = digits[--count];
    *at = 0;
    return at;
}

void text_clear(void *bytes, unsigned long count) {
    volatile char *at = bytes;
    while (count--) *at++ = 0;
}
