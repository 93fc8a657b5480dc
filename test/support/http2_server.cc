// The HTTP/2 codec behind plain sockets, and nothing else: every request gets 200 and its own body back, or a short text.
// For conformance tests of the codec without a proxy around it. Prints the port; ends with its standard input.
//
//   http2_server [PORT]
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <list>
#include <string>
#include <vector>

#include "core/stats.h"
#include "http/http2.h"

namespace {

using namespace sluice;
using namespace sluice::http;

class Exchange final : public StreamReceiver {
 public:
  Exchange(Stream& stream, BlockPool& pool) : stream_(&stream), pool_(pool) {}
  void on_headers(HeaderMapPtr, bool end_stream) override {
    if (end_stream) answer();
  }
  void on_data(Buffer& data, bool end_stream) override {
    body_.append(std::move(data));
    if (end_stream) answer();
  }
  void on_trailers(HeaderMapPtr) override { answer(); }
  void on_reset(ResetReason, std::string_view) override { stream_ = nullptr; }
  bool over() const { return !stream_; }

 private:
  void answer() {
    if (body_.empty()) body_.append(pool_, "hello from the codec\n");
    HeaderMapPtr headers = make_headers();
    headers->add_static(Name::status, "200");
    headers->set_integer(Name::content_length, body_.size());
    stream_->send_headers(*headers, false);
    stream_->send_data(std::move(body_), true);
    stream_ = nullptr;
  }

  Stream* stream_;
  BlockPool& pool_;
  Buffer body_;
};

class Peer final : ServerCallbacks, Output {
 public:
  Peer(int fd, BlockPool& pool, const Http2Config& config, Http2Stats& stats)
      : fd_(fd), pool_(pool), codec_(make_http2_server(config, stats, *this, *this)) {}
  ~Peer() { close(fd_); }

  int fd() const { return fd_; }
  bool wants_write() const { return !out_.empty(); }

  // False: the connection is over.
  bool readable() {
    Block* block = pool_.get(BlockPool::kMedium);
    Chunk chunk(block, 0, block->capacity);
    ssize_t n = recv(fd_, chunk.data(), chunk.size(), MSG_DONTWAIT);
    if (n <= 0) {
      codec_->connection_lost(ResetReason::connection_termination, "");
      return false;
    }
    chunk.keep_front(static_cast<uint32_t>(n));
    Buffer data;
    data.append(std::move(chunk));
    bool broken = codec_->receive(data).has_value();
    while (!broken && std::exchange(soon_, false)) broken = codec_->receive(data).has_value();
    std::erase_if(exchanges_, [](const Exchange& e) { return e.over(); });
    if (!broken && !codec_->finished()) return writable();
    writable();
    shutdown(fd_, SHUT_WR);
    return false;
  }
  bool writable() {
    while (!out_.empty()) {
      std::string_view first = out_.chunk(0).view();
      ssize_t n = send(fd_, first.data(), first.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n < 0) return errno == EAGAIN;
      out_.drain(static_cast<size_t>(n));
    }
    return true;
  }

 private:
  StreamReceiver& on_new_stream(Stream& stream) override { return exchanges_.emplace_back(stream, pool_); }
  void write(Buffer&& data) override { out_.append(std::move(data)); }
  BlockPool& blocks() override { return pool_; }
  void pause_reading() override {}
  void resume_reading() override {}
  void receive_soon() override { soon_ = true; }

  int fd_;
  BlockPool& pool_;
  Buffer out_;
  bool soon_ = false;
  std::list<Exchange> exchanges_;
  std::unique_ptr<ServerConnection> codec_;
};

int listen_on(uint16_t port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), size) || listen(fd, 128)) {
    std::perror("http2_server");
    std::exit(1);
  }
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  std::printf("%u\n", ntohs(address.sin_port));
  std::fflush(stdout);
  return fd;
}

}  // namespace

int main(int argc, char** argv) {
  int listener = listen_on(static_cast<uint16_t>(argc > 1 ? std::atoi(argv[1]) : 0));
  BlockPool pool;
  stats::Store store(1);
  Http2Stats stats(store.root(0));
  Http2Config config;
  config.http2.max_concurrent_streams = 100;
  std::list<Peer> peers;
  for (;;) {
    std::vector<pollfd> polled = {{0, POLLIN, 0}, {listener, POLLIN, 0}};
    for (Peer& p : peers)
      polled.push_back({p.fd(), static_cast<short>(p.wants_write() ? POLLIN | POLLOUT : POLLIN), 0});
    if (poll(polled.data(), polled.size(), -1) < 0) continue;
    size_t i = 2;
    for (auto p = peers.begin(); p != peers.end(); ++i) {
      bool open = true;
      if (polled[i].revents & POLLOUT) open = p->writable();
      if (open && polled[i].revents & (POLLIN | POLLHUP | POLLERR)) open = p->readable();
      p = open ? std::next(p) : peers.erase(p);
    }
    if (polled[0].revents) {
      char c;
      if (read(0, &c, 1) <= 0) break;
    }
    if (polled[1].revents)
      if (int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC); fd >= 0)
        peers.emplace_back(fd, pool, config, stats);
  }
  peers.clear();
  close(listener);
}
