#pragma once

#include <string>

#include "test/unit/config/verdicts.h"

// TLS contexts and what Envoy and Sluice say of them: the rows of verdicts.h, each a typed_config. For tests alone, these
// keys are nobody's.
namespace sluice::config::test {

// clang-format off
#define CA_PEM \
  "-----BEGIN CERTIFICATE-----\\n" \
  "MIIBcTCCARegAwIBAgIUPgejcT2t/X9mR6k/DVxnfkIv2fEwCgYIKoZIzj0EAwIw\\n" \
  "DTELMAkGA1UEAwwCY2EwIBcNMjYxMTIyMTMzMTIwWhgPMjEyNjEwMjkxMzMxMjBa\\n" \
  "MA0xCzAJBgNVBAMMAmNhMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEPPNlX9UR\\n" \
  "DYL7FTrem0GDlBZXuLG+B4wL1gwpHswpkVxtASO+pxmCk5ICYpv7AFm+qMARKZE2\\n" \
  "7+JRF7LK7FLjiaNTMFEwHQYDVR0OBBYEFBbo9QffIBELpgR2r+85Tgs8tnfkMB8G\\n" \
  "A1UdIwQYMBaAFBbo9QffIBELpgR2r+85Tgs8tnfkMA8GA1UdEwEB/wQFMAMBAf8w\\n" \
  "CgYIKoZIzj0EAwIDSAAwRQIhAMjNFCAsQiweYwNkLMwJpNmjopJkdFp3WkO7ZuP7\\n" \
  "1BrEAiAvLv1sHN5I3fWYFcxQqrC4JetrmP9m7EDIR9lRrsqWNQ==\\n" \
  "-----END CERTIFICATE-----\\n"

#define LEAF_PEM \
  "-----BEGIN CERTIFICATE-----\\n" \
  "MIIBFzCBvwIUIkdY4TBdod64eWqqAw2Dh7XHLcMwCgYIKoZIzj0EAwIwDTELMAkG\\n" \
  "A1UEAwwCY2EwIBcNMjYxMTIyMTMzMTIxWhgPMjEyNjEwMjkxMzMxMjFaMA8xDTAL\\n" \
  "BgNVBAMMBGxlYWYwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQhQW1zoVUouEYn\\n" \
  "poFGobiBBn+Jk8eFopTjK3R7LomjeeCctqe5cxYacmBpG+BETTNVgDAyr3f3hKIV\\n" \
  "t8ONvlFcMAoGCCqGSM49BAMCA0cAMEQCIGze75krr4YWw5jdaGbJDXxK8CgEtEYN\\n" \
  "IWo5cCetoa9DAiBIbiM9k2+Wg0XauP2VMILbCR0fsjdDpu4t+SV31VQCsg==\\n" \
  "-----END CERTIFICATE-----\\n"

#define LEAF_KEY \
  "-----BEGIN PRIVATE KEY-----\\n" \
  "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgnGsZt7axWvg76ikp\\n" \
  "ohc4pX9ziNcPO7zTztnKiBJ/v4OhRANCAAQhQW1zoVUouEYnpoFGobiBBn+Jk8eF\\n" \
  "opTjK3R7LomjeeCctqe5cxYacmBpG+BETTNVgDAyr3f3hKIVt8ONvlFc\\n" \
  "-----END PRIVATE KEY-----\\n"

#define OTHER_KEY \
  "-----BEGIN PRIVATE KEY-----\\n" \
  "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjUZChvekHUywmH6h\\n" \
  "i/uBnsRmZhLZcFEXr4HyuEIIaAehRANCAAR+Qm7K683bT0P23IaG916zNp2MNFaG\\n" \
  "/PfAGcLAbFbtVbnp3KArMuImMGmboLE3z5t0gGiCseqQrymuEkyJkcFk\\n" \
  "-----END PRIVATE KEY-----\\n"

#define WEAK_PEM \
  "-----BEGIN CERTIFICATE-----\\n" \
  "MIIB/DCCAWWgAwIBAgIUSC5HJABZUk8av4WjSk+DkUBpRXwwDQYJKoZIhvcNAQEL\\n" \
  "BQAwDzENMAsGA1UEAwwEd2VhazAgFw0yNjExMjIxMzMxMjNaGA8yMTI2MTAyOTEz\\n" \
  "MzEyM1owDzENMAsGA1UEAwwEd2VhazCBnzANBgkqhkiG9w0BAQEFAAOBjQAwgYkC\\n" \
  "gYEAwbHQAgOlUVwZn5qus5zlGOsmKeN9VQhaH0uWfm7mLM/Aadqev8TWrJgPiu+I\\n" \
  "PA9sFBKyzABbIiiY0rLzd88h0Qv8aH2m1ngHxRFAG2ir06izjhhZKH7HkfJugVCg\\n" \
  "1ei6EO7153yQZmaCuo4hc3hMQTVY1+zFRjzQvEr4DyDU3NcCAwEAAaNTMFEwHQYD\\n" \
  "VR0OBBYEFO+okg4T5wtm8TAQgMSR7mzoMw5bMB8GA1UdIwQYMBaAFO+okg4T5wtm\\n" \
  "8TAQgMSR7mzoMw5bMA8GA1UdEwEB/wQFMAMBAf8wDQYJKoZIhvcNAQELBQADgYEA\\n" \
  "RTgUdhHy3uE1Z38/wqBBECd/Yv11eX+wOt98PnBOIUzbD+nUOqjTXNDrlfxDTuAT\\n" \
  "l8+siRKkT4xemFvX105E7MzUB1OFk7zBScFRK3TWsJC2doEOYf6D2tF6RkZP/ipq\\n" \
  "jBD2HSy8CN3W1v3xdHwxuV93pPd+jWtanbjnWzI+Sxo=\\n" \
  "-----END CERTIFICATE-----\\n"

#define WEAK_KEY \
  "-----BEGIN PRIVATE KEY-----\\n" \
  "MIICdwIBADANBgkqhkiG9w0BAQEFAASCAmEwggJdAgEAAoGBAMGx0AIDpVFcGZ+a\\n" \
  "rrOc5RjrJinjfVUIWh9Lln5u5izPwGnanr/E1qyYD4rviDwPbBQSsswAWyIomNKy\\n" \
  "83fPIdEL/Gh9ptZ4B8URQBtoq9Oos44YWSh+x5HyboFQoNXouhDu9ed8kGZmgrqO\\n" \
  "IXN4TEE1WNfsxUY80LxK+A8g1NzXAgMBAAECgYEAjhLmF0QjU80xgk+Mi3Su2ptJ\\n" \
  "D/qsaN3KdSAVkEG6Fe6BHWPdg55XNJwI8okGLb/GL+cTPO2Z6zFJ/2qBiUTmcM/i\\n" \
  "1OopBIzXY3TXItMKz3N2fiszB+WefbqPBBH3/50yu8FjKshALYyzwbGJMj7smBg3\\n" \
  "mFCYWmxuFGL6rlSklIECQQDntDXrgu1dJgV2tS8wfHuXu+SeHjzSap3n0WZb6lOf\\n" \
  "6QJmUT3YRwPI+kLWfOFyqG1qw2MfIwjRf4tO1lKZ8QNBAkEA1gFKR6Mzfz7mVaIo\\n" \
  "09mXRHAx7Y1F31YXnYB00VdD7tX7qj9MCg/JQOaEtxmpkLL5CeDmL8Bww1l+pUzD\\n" \
  "tDMSFwJBAMrdeaguBezccUQx9pMZKoz7MXtPNil0t7RUHq6zR2xm8nbrAp7t7l50\\n" \
  "3zg0Np/Q35vuXkbQwdPLPAlWlRO7dQECQGhwAr8JL0WG/cOGuqQAiWjV1BfZHONM\\n" \
  "UYQEv322N6nj9ch00XgLkizBEr2EoZLDNPQUNGHTaXR8RWkIGG3liosCQDE27F2V\\n" \
  "XIOUiTUQPrIPAA/8Afq11kZ386AGbcOjtWoPbKaWIW+s3Tz1vH2Vplr2o5pAx7Wc\\n" \
  "+vukL91szOJvflM=\\n" \
  "-----END PRIVATE KEY-----\\n"
// clang-format on

#define CERT \
  "{certificate_chain: {inline_string: \"" LEAF_PEM "\"}, private_key: {inline_string: \"" LEAF_KEY "\"}}"
#define CERTS "tls_certificates: [" CERT "]"
#define CA "trusted_ca: {inline_string: \"" CA_PEM "\"}"
#define SDS "{name: s, sds_config: {ads: {}, resource_api_version: V3}}"
#define TLS(kind, common, fields) \
  "{" TYPE("transport_sockets.tls.v3." kind) ", common_tls_context: {" common "}" fields "}"
#define SERVER(common, fields) TLS("DownstreamTlsContext", common, fields)
#define CLIENT(common, fields) TLS("UpstreamTlsContext", common, fields)
#define TRUST(fields) "validation_context: {" CA ", " fields "}"
#define PARAMS(fields) CERTS ", tls_params: {" fields "}"
#define SAN(matcher) "match_typed_subject_alt_names: [{" matcher "}]"

inline constexpr Row kServerRows[] = {
    {"a certificate", Verdict::accepted, SERVER(CERTS, "")},
    {"no certificate", Verdict::refused, SERVER("", ""), "No TLS certificates found for server context"},
    {"an empty certificate", Verdict::refused, SERVER("tls_certificates: [{}]", ""),
     "Server TlsCertificates must have a certificate specified"},
    {"one inline and one of SDS", Verdict::refused,
     SERVER(CERTS ", tls_certificate_sds_secret_configs: [" SDS "]", ""),
     "SDS and non-SDS TLS certificates may not be mixed in server contexts"},
    {"a chain without its key", Verdict::refused,
     SERVER("tls_certificates: [{certificate_chain: {inline_string: \"" LEAF_PEM "\"}}]", ""),
     "tls_certificates[0].private_key: Failed to load incomplete private key from path: "},
    {"a key without its chain", Verdict::refused,
     SERVER("tls_certificates: [{private_key: {inline_string: \"" LEAF_KEY "\"}}]", ""),
     "tls_certificates[0].certificate_chain: Failed to load incomplete certificate"},
    {"somebody else's key", Verdict::refused,
     SERVER("tls_certificates: [{certificate_chain: {inline_string: \"" LEAF_PEM
            "\"}, private_key: {inline_string: \"" OTHER_KEY "\"}}]",
            ""),
     "tls_certificates[0]: Failed to load private key from <inline>"},
    {"a chain that is none", Verdict::refused,
     SERVER("tls_certificates: [{certificate_chain: {inline_string: abc}, private_key: {inline_string: "
            "\"" LEAF_KEY "\"}}]",
            ""),
     "tls_certificates[0]: Failed to load certificate chain from <inline>"},
    {"a key of 1024 bits", Verdict::refused,
     SERVER("tls_certificates: [{certificate_chain: {inline_string: \"" WEAK_PEM
            "\"}, private_key: {inline_string: \"" WEAK_KEY "\"}}]",
            ""),
     "2048-bit or larger"},
    {"a file that is not there", Verdict::refused,
     SERVER("tls_certificates: [{certificate_chain: {filename: /nonexistent}, private_key: {inline_string: "
            "\"" LEAF_KEY "\"}}]",
            ""),
     "/nonexistent"},
    {"two certificates", Verdict::accepted, SERVER("tls_certificates: [" CERT ", " CERT "]", "")},
    {"a CA", Verdict::accepted, SERVER(CERTS ", " TRUST(""), ", require_client_certificate: true")},
    {"a CA that is none", Verdict::refused,
     SERVER(CERTS ", validation_context: {trusted_ca: {inline_string: abc}}", ""),
     "validation_context: Failed to load trusted CA certificates from <inline>"},
    {"names without a CA", Verdict::refused,
     SERVER(CERTS ", validation_context: {" SAN("san_type: URI, matcher: {exact: a}") "}", ""),
     "SAN-based verification of peer certificates without trusted CA is insecure and not allowed"},
    {"names of a kind", Verdict::accepted,
     SERVER(CERTS ", " TRUST(SAN("san_type: DNS, matcher: {suffix: .a}")), "")},
    {"names of no kind", Verdict::refused, SERVER(CERTS ", " TRUST(SAN("matcher: {exact: a}")), ""),
     "san_type"},
    {"another name without its OID", Verdict::refused,
     SERVER(CERTS ", " TRUST(SAN("san_type: OTHER_NAME, matcher: {exact: a}")), ""), "oid"},
    {"names the old way", Verdict::accepted,
     SERVER(CERTS ", " TRUST("match_subject_alt_names: [{exact: a}]"), "")},
    {"names both ways", Verdict::stricter,
     SERVER(CERTS
            ", " TRUST("match_subject_alt_names: [{exact: a}], " SAN("san_type: URI, matcher: {exact: a}")),
            ""),
     "both match_typed_subject_alt_names and the deprecated"},
    {"expiry ignored without a CA", Verdict::refused,
     SERVER(CERTS ", validation_context: {allow_expired_certificate: true}", ""),
     "Certificate validity period is always ignored without trusted CA"},
    {"a list of revocations without a CA", Verdict::refused,
     SERVER(CERTS ", validation_context: {crl: {inline_string: abc}}", ""), "without trusted CA"},
    {"a list of revocations that is none", Verdict::stricter,
     SERVER(CERTS ", " TRUST("crl: {inline_string: abc}"), ""), "Failed to load CRL from <inline>"},
    {"a hash", Verdict::accepted,
     SERVER(CERTS ", " TRUST("verify_certificate_hash: "
                             "[\"df6ff72fe9116521268f6f2dd4966f51df479883fe7037b39f75916ac3049d1a\"]"),
            "")},
    {"a hash that is none", Verdict::refused,
     SERVER(CERTS ", " TRUST("verify_certificate_hash: "
                             "[\"zz6ff72fe9116521268f6f2dd4966f51df479883fe7037b39f75916ac3049d1a\"]"),
            ""),
     "Invalid hex-encoded SHA-256"},
    {"a short hash", Verdict::refused, SERVER(CERTS ", " TRUST("verify_certificate_hash: [abcd]"), ""),
     "verify_certificate_hash"},
    {"a key's hash", Verdict::accepted,
     SERVER(CERTS ", " TRUST("verify_certificate_spki: [\"NvqYIYSbgK2vCJpQhObf77vv+bQWtc5ek5RIOwPiC9A=\"]"),
            "")},
    {"a verification depth over 100", Verdict::refused, SERVER(CERTS ", " TRUST("max_verify_depth: 101"), ""),
     "max_verify_depth"},
    {"names whose CA is discovered", Verdict::accepted,
     SERVER("tls_certificate_sds_secret_configs: [" SDS
            "], combined_validation_context: {default_validation_context: "
            "{" SAN("san_type: URI, matcher: {exact: a}") "}, validation_context_sds_secret_config: " SDS "}",
            "")},
    {"half a combination", Verdict::refused,
     SERVER(CERTS ", combined_validation_context: {default_validation_context: {}}", ""),
     "validation_context_sds_secret_config"},
    {"ciphers", Verdict::accepted,
     SERVER(PARAMS("cipher_suites: [ECDHE-ECDSA-AES128-GCM-SHA256, \"[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-"
                   "CHACHA20-POLY1305]\"]"),
            "")},
    {"a cipher that is none", Verdict::refused,
     SERVER(PARAMS("cipher_suites: [ECDHE-RSA-AES128-GCM-SHA256, NONE-SUCH]"), ""),
     "The following ciphers were rejected when tried individually: NONE-SUCH"},
    {"a curve", Verdict::accepted, SERVER(PARAMS("ecdh_curves: [P-384]"), "")},
    {"a curve that is none", Verdict::refused, SERVER(PARAMS("ecdh_curves: [P-257]"), ""),
     "Failed to initialize ECDH curves P-257"},
    {"signatures", Verdict::accepted, SERVER(PARAMS("signature_algorithms: [ecdsa_secp256r1_sha256]"), "")},
    {"signatures that are none", Verdict::refused, SERVER(PARAMS("signature_algorithms: [abc]"), ""),
     "Failed to initialize TLS signature algorithms abc"},
    {"versions the wrong way round", Verdict::stricter,
     SERVER(PARAMS("tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_2"), ""),
     "is above the maximum"},
    {"FIPS", Verdict::stricter, SERVER(PARAMS("compliance_policies: [FIPS_202205]"), ""),
     "compliance_policies"},
    {"protocols", Verdict::accepted,
     SERVER(CERTS ", alpn_protocols: [istio-peer-exchange, h2, http/1.1]", "")},
    {"an empty protocol", Verdict::stricter, SERVER(CERTS ", alpn_protocols: [\"\"]", ""), "alpn_protocols"},
    {"a short ticket key", Verdict::refused,
     SERVER(CERTS, ", session_ticket_keys: {keys: [{inline_string: abc}]}"),
     "Incorrect TLS session ticket key length. Length 3, expected length 80."},
    {"no ticket keys", Verdict::refused, SERVER(CERTS, ", session_ticket_keys: {}"), "keys"},
    {"no resumption", Verdict::accepted,
     SERVER(CERTS,
            ", disable_stateless_session_resumption: true, disable_stateful_session_resumption: true")},
    {"stapling that must be and cannot", Verdict::refused, SERVER(CERTS, ", ocsp_staple_policy: MUST_STAPLE"),
     "Required OCSP response is missing"},
    {"a staple in text", Verdict::refused,
     SERVER("tls_certificates: [{certificate_chain: {inline_string: \"" LEAF_PEM
            "\"}, private_key: {inline_string: \"" LEAF_KEY "\"}, ocsp_staple: {inline_string: abc}}]",
            ""),
     "OCSP staple cannot be provided via inline_string"},
    {"SNI required", Verdict::stricter, SERVER(CERTS, ", require_sni: true"), "require_sni"},
    {"signed timestamps required", Verdict::stricter,
     SERVER(CERTS ", " TRUST("require_signed_certificate_timestamp: true"), ""),
     "require_signed_certificate_timestamp"},
    {"a static secret that is not there", Verdict::refused,
     SERVER("tls_certificate_sds_secret_configs: [{name: nobody}]", ""), "nobody"},
};

inline constexpr Row kClientRows[] = {
    {"nothing", Verdict::accepted, CLIENT("", "")},
    {"a name", Verdict::accepted, CLIENT("", ", sni: a.b")},
    {"a name of 256 bytes", Verdict::refused,
     CLIENT("",
            ", sni: "
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
            "aaaaaaaaaaaaaaaaaaaa"
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
            "aaaaaaaaaaaaaaaaaaaa"
            "aaaaaaaaaaaaaaaaaaaaaaaa"),
     "sni"},
    {"a certificate", Verdict::accepted, CLIENT(CERTS, "")},
    {"two certificates", Verdict::refused, CLIENT("tls_certificates: [" CERT ", " CERT "]", ""),
     "Multiple TLS certificates are not supported for client contexts"},
    {"names by SNI without a CA", Verdict::refused, CLIENT("", ", sni: a, auto_sni_san_validation: true"),
     "'auto_sni_san_validation' was configured without a validation context"},
    {"names by SNI with half a context", Verdict::refused,
     CLIENT("validation_context: {trust_chain_verification: ACCEPT_UNTRUSTED}",
            ", sni: a, auto_sni_san_validation: true"),
     "'auto_sni_san_validation' was configured without configuring a trusted CA"},
    {"names by SNI", Verdict::accepted,
     CLIENT(TRUST(""), ", sni: a, auto_sni_san_validation: true, auto_host_sni: true")},
    {"sessions", Verdict::accepted,
     CLIENT("", ", max_session_keys: 0, allow_renegotiation: true, enforce_rsa_key_usage: true")},
    {"TLS 1.3 at least, where 1.2 is the most", Verdict::stricter,
     CLIENT("tls_params: {tls_minimum_protocol_version: TLSv1_3}", ""), "is above the maximum"},
};

// auto_config asks every transport socket of the cluster for ALPN. Each a whole configuration.
#define UPSTREAM_TLS "{name: tls, typed_config: {" TYPE("transport_sockets.tls.v3.UpstreamTlsContext") "}}"
#define RAW "{name: raw, typed_config: {" TYPE("transport_sockets.raw_buffer.v3.RawBuffer") "}}"
#define BY_ALPN(sockets)                                                                                   \
  CLUSTER(ASSIGNED                                                                                         \
          ", typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {" \
          "\"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, "        \
          "auto_config: {}}}" sockets)
inline constexpr Row kAlpnRows[] = {
    {"ALPN without TLS", Verdict::refused, BY_ALPN(""), "non-ALPN transport socket"},
    {"ALPN with TLS", Verdict::accepted, BY_ALPN(", transport_socket: " UPSTREAM_TLS)},
    {"ALPN with TLS, where another socket is in the clear", Verdict::refused,
     BY_ALPN(", transport_socket: " UPSTREAM_TLS
             ", transport_socket_matches: [{name: m, match: {a: b}, transport_socket: " RAW "}]"),
     "non-ALPN transport socket"},
    {"ALPN with TLS for some, and nothing said of the others", Verdict::refused,
     BY_ALPN(", transport_socket_matches: [{name: m, match: {a: b}, transport_socket: " UPSTREAM_TLS "}]"),
     "non-ALPN transport socket"},
    {"ALPN with TLS for all", Verdict::accepted,
     BY_ALPN(", transport_socket: " UPSTREAM_TLS
             ", transport_socket_matches: [{name: m, match: {a: b}, transport_socket: " UPSTREAM_TLS "}]")},
};

// Around a typed_config of kServerRows or kClientRows: a whole configuration.
inline std::string with_server(const char* typed_config) {
  return std::string("node: {id: a, cluster: b}\nstatic_resources: {clusters: [{name: ads, " ASSIGNED
                     "}], listeners: [{name: l, " AT ", filter_chains: [{filters: [" ECHO
                     "], transport_socket: {name: tls, typed_config: ") +
         typed_config +
         "}}]}]}\n"
         "dynamic_resources: {" ADS("api_type: GRPC, " SERVICE("ads")) "}";
}
inline std::string with_client(const char* typed_config) {
  return std::string("static_resources: {clusters: [{name: c, " ASSIGNED
                     ", transport_socket: {name: tls, typed_config: ") +
         typed_config + "}}]}";
}

}  // namespace sluice::config::test
