#pragma once
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <sys/prctl.h>

// rd_kafka_producev is variadic, which Swift cannot call. The record is copied; the headers are librdkafka's
// from here on unless an error is returned.
static inline rd_kafka_resp_err_t penstock_produce(
    rd_kafka_t *producer, const char *topic, const void *key, size_t key_size, const void *value,
    size_t value_size, rd_kafka_headers_t *headers, void *mark) {
    return rd_kafka_producev(
        producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_KEY((void *)key, key_size), RD_KAFKA_V_VALUE((void *)value, value_size),
        RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(mark), RD_KAFKA_V_END);
}

// prctl is variadic too. At most 15 bytes.
static inline void penstock_name_thread(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }
