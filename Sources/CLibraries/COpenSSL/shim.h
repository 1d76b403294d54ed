#pragma once
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>

// What OpenSSL has as macros or variadic functions, which Swift cannot call.

static inline EVP_PKEY *penstock_new_key(void) {
    return EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
}

static inline int penstock_add_extension(X509 *certificate, X509 *issuer, int nid, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    int is_added = extension && X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    return is_added;
}

static inline long penstock_bio_bytes(BIO *bio, char **bytes) {
    return BIO_get_mem_data(bio, bytes);
}

// The one protocol that is spoken inside; a client that offers others only is refused.
static const unsigned char penstock_http1[] = "\x08http/1.1";

static inline int penstock_choose_http1(SSL *ssl, const unsigned char **chosen, unsigned char *bytes,
                                        const unsigned char *offered, unsigned int offered_bytes, void *unused) {
    (void)ssl;
    (void)unused;
    unsigned char *found;
    int result = SSL_select_next_proto(&found, bytes, penstock_http1, sizeof penstock_http1 - 1, offered,
                                       offered_bytes);
    *chosen = found;
    return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

// TLS 1.2 and up, nothing resumed, nothing renegotiated.
static inline int penstock_restrict(SSL_CTX *context) {
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context, 0);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
}

static inline void penstock_serve_http1(SSL_CTX *context) {
    SSL_CTX_set_alpn_select_cb(context, penstock_choose_http1, NULL);
}

// Whom to ask for, and whose name the certificate must have.
static inline int penstock_ask_for(SSL *ssl, const char *host) {
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    return SSL_set_alpn_protos(ssl, penstock_http1, sizeof penstock_http1 - 1) == 0 &&
           SSL_set_tlsext_host_name(ssl, host) == 1 && SSL_set1_host(ssl, host) == 1;
}
