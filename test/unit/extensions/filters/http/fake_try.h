#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "http/codec.h"
#include "sluice/ext/http_upstream.h"
#include "test/unit/extensions/filters/http/fake_context.h"

// A try that does what the test says: FakeCluster::tries makes it.
namespace sluice::test {

struct FakeHost final : ext::UpstreamHost {
  const Address& address() const override { return at; }
  const std::string& hostname() const override { return name; }
  bool canary() const override { return false; }
  uint32_t priority() const override { return 0; }
  const std::string& zone() const override { return name; }
  bool has_metadata(const ext::MetadataMatch::Criteria&) const override { return true; }
  Address at = *Address::parse("10.0.0.1:80");
  std::string name;
};

// What became of one try; outlives it.
struct Seen {
  http::StreamReceiver* receiver = nullptr;
  ext::HttpTry::Callbacks* callbacks = nullptr;
  http::Stream* stream = nullptr;
  Headers head;
  std::string body;
  std::optional<ext::TryResult> result;
  bool ended = false, gone = false, unseen = false;
  int paused = 0;

  void ready() { callbacks->on_ready(*stream); }
  void answer(std::string_view status, bool end = true) {
    auto h = http::make_headers();
    h->add(http::Name::status, status);
    receiver->on_headers(std::move(h), end);
  }
  std::string_view field(std::string_view name) const {
    for (auto& [n, v] : head)
      if (n == name) return v;
    return "";
  }
};

struct FakeTry final : ext::HttpTry, public http::Stream {
  FakeTry(Seen& s, http::StreamReceiver& receiver, ext::HttpTry::Callbacks& callbacks) : seen(s) {
    seen.receiver = &receiver;
    seen.callbacks = &callbacks;
    seen.stream = this;
  }
  ~FakeTry() override { seen.gone = true; }
  void start() override {}
  const ext::UpstreamHost* host() const override { return &host_; }
  ext::Connection& connection() override { return connection_; }
  MonotonicTime connect_started() const override { return {}; }
  MonotonicTime connect_done() const override { return {}; }
  uint64_t connection_streams() const override { return 2; }
  bool may_be_unseen() const override { return seen.unseen; }
  void report(ext::TryResult result) override { seen.result = result; }
  void report_immediate_health_check_fail() override {}
  void report_status(uint16_t) override {}
  void send_headers(const http::HeaderMap& headers, bool end_stream) override {
    seen.head = list(headers);
    seen.ended |= end_stream;
  }
  void send_informational(const http::HeaderMap&) override {}
  void send_data(Buffer&& data, bool end_stream) override {
    seen.body += data.to_string();
    data.clear();
    seen.ended |= end_stream;
  }
  void send_trailers(const http::HeaderMap&) override { seen.ended = true; }
  void reset(http::ResetReason) override {}
  void pause_reading() override { ++seen.paused; }
  void resume_reading() override { --seen.paused; }
  void set_buffer_limit(uint32_t) override {}
  bool above_write_high_watermark() const override { return false; }
  const Bytes& bytes() const override { return bytes_; }
  uint32_t id() const override { return 0; }
  http::Protocol protocol() const override { return http::Protocol::http11; }

  struct NoConnection final : ext::Connection {
    uint64_t id() const override { return 7; }
    const Address& local_address() const override { return at; }
    const Address& remote_address() const override { return at; }
    void write(Buffer&&, bool) override {}
    void pause_reading() override {}
    void resume_reading() override {}
    void close(ext::CloseKind, std::string_view) override {}
    bool open() const override { return true; }
    size_t unsent() const override { return 0; }
    bool above_high_watermark() const override { return false; }
    Address at;
  };
  Seen& seen;
  FakeHost host_;
  NoConnection connection_;
  Bytes bytes_;
};

}  // namespace sluice::test
