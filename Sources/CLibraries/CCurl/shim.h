#pragma once
#include <curl/curl.h>

// libcurl's setters and getters are variadic, which Swift cannot call.
static inline CURLcode penstock_easy_long(CURL *easy, CURLoption option, long value) {
    return curl_easy_setopt(easy, option, value);
}

static inline CURLcode penstock_easy_size(CURL *easy, CURLoption option, curl_off_t value) {
    return curl_easy_setopt(easy, option, value);
}

static inline CURLcode penstock_easy_text(CURL *easy, CURLoption option, const char *value) {
    return curl_easy_setopt(easy, option, value);
}

static inline CURLcode penstock_easy_pointer(CURL *easy, CURLoption option, void *value) {
    return curl_easy_setopt(easy, option, value);
}

typedef size_t (*penstock_write_function)(char *bytes, size_t size, size_t count, void *context);
typedef int (*penstock_prereq_function)(void *context, char *ip, char *local_ip, int port, int local_port);

static inline void penstock_easy_write(CURL *easy, CURLoption option, penstock_write_function function) {
    curl_easy_setopt(easy, option, function);
}

static inline void penstock_easy_prereq(CURL *easy, penstock_prereq_function function) {
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, function);
}

static inline long penstock_easy_status(CURL *easy) {
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

static inline void *penstock_easy_context(CURL *easy) {
    char *context = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &context);
    return context;
}

typedef int (*penstock_socket_function)(CURL *easy, curl_socket_t socket, int what, void *context, void *mark);
typedef int (*penstock_timer_function)(CURLM *multi, long milliseconds, void *context);

static inline void penstock_multi_callbacks(
    CURLM *multi, penstock_socket_function on_socket, penstock_timer_function on_timer, void *context) {
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, context);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, context);
}

static inline void penstock_multi_long(CURLM *multi, CURLMoption option, long value) {
    curl_multi_setopt(multi, option, value);
}
