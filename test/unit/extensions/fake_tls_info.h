#pragma once

#include <string>
#include <vector>

#include "sluice/ext/tls_info.h"

namespace sluice::test {

// A handshake as a real Envoy 1.40 described one: mutual TLS, both sides with awkward names.
struct FakeTlsInfo final : ext::TlsInfo {
  FakeTlsInfo() {
    client.subject = "O=Acme\\, Inc\\\\x,CN=client";
    client.issuer = "CN=Test CA";
    client.serial = "4ba18b89d1ece455";
    client.sha256 = "db832620c10066dc";
    client.sha1 = "b662c8d3388821a0";
    client.uri_sans = {"spiffe://a/c1", "spiffe://a/c2"};
    client.dns_sans = {"c.local", "d,e;f=g.local"};
    client.ip_sans = {"10.0.0.1"};
    client.email_sans = {"a@b.c"};
    client.not_before = WallTime(std::chrono::seconds(1795352437));
    client.not_after = WallTime(std::chrono::seconds(1797080437));
    client.pem = "-----BEGIN CERTIFICATE-----\nMII+/w=\n-----END CERTIFICATE-----\n";
    server.subject = "O=Acme\\, \\\"Inc\\\",CN=server";
    server.uri_sans = {"spiffe://a/s1", "spiffe://a/s2"};
    server.dns_sans = {"localhost"};
    chain_pem = {client.pem, "-----BEGIN CERTIFICATE-----\nCA\n-----END CERTIFICATE-----\n"};
    chain_sha256 = {client.sha256, "f6473313"};
    chain_sha1 = {client.sha1, "e3a01fee"};
    chain_serials = {client.serial, "1221e39c"};
  }

  const std::string& version() const override { return protocol; }
  const std::string& cipher() const override { return suite; }
  uint16_t cipher_id() const override { return 0x1302; }
  const std::string& session_id() const override { return none; }
  const std::string& alpn() const override { return none; }
  const std::string& server_name() const override { return name; }
  bool resumed() const override { return false; }
  const ext::CertificateInfo* peer() const override { return mutual ? &client : nullptr; }
  bool peer_validated() const override { return mutual; }
  const std::vector<std::string>& peer_chain_pem() const override { return chain_pem; }
  const std::vector<std::string>& peer_chain_sha256() const override { return chain_sha256; }
  const std::vector<std::string>& peer_chain_sha1() const override { return chain_sha1; }
  const std::vector<std::string>& peer_chain_serials() const override { return chain_serials; }
  const ext::CertificateInfo* local() const override { return &server; }

  bool mutual = true;
  ext::CertificateInfo client, server;
  std::string protocol = "TLSv1.3", suite = "TLS_AES_256_GCM_SHA384", name = "up.local", none;
  std::vector<std::string> chain_pem, chain_sha256, chain_sha1, chain_serials;
};

}  // namespace sluice::test
