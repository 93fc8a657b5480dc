#include "test/sim/sim_tls.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace sluice::sim {
namespace {

constexpr size_t kHeader = 5, kTail = 1 + 8 + 8;
constexpr uint8_t kApplicationData = 23;

void put(std::string& to, uint64_t n) {
  for (int i = 7; i >= 0; --i) to += static_cast<char>(n >> 8 * i);
}

uint64_t get(std::string_view from) {
  uint64_t n = 0;
  for (const char c : from.substr(0, 8)) n = n << 8 | static_cast<uint8_t>(c);
  return n;
}

void disguise(std::string& text) {
  for (char& c : text) c ^= 0x55;
}

}  // namespace

uint64_t key_of(const io::KernelTlsKeys& keys) {
  return get({reinterpret_cast<const char*>(keys.key.data()), 8});
}

std::string make_record(const SimRecord& r) {
  const size_t length = r.content.size() + kTail;
  std::string bytes{kApplicationData, 3, 3, static_cast<char>(length >> 8), static_cast<char>(length)};
  std::string hidden = r.content;
  disguise(hidden);
  bytes += hidden;
  bytes += static_cast<char>(r.type);
  put(bytes, r.key);
  put(bytes, r.sequence);
  return bytes;
}

bool read_records(std::string& bytes, std::vector<SimRecord>& records) {
  while (bytes.size() >= kHeader) {
    if (bytes[0] != kApplicationData || bytes[1] != 3 || bytes[2] != 3) return false;
    const size_t length =
        static_cast<size_t>(static_cast<uint8_t>(bytes[3])) << 8 | static_cast<uint8_t>(bytes[4]);
    if (length < kTail || length > io::KernelTls::kRecordContent + kTail) return false;
    if (bytes.size() < kHeader + length) return true;
    std::string content = bytes.substr(kHeader, length - kTail);
    disguise(content);
    const std::string_view tail = std::string_view(bytes).substr(kHeader + length - kTail, kTail);
    records.push_back({static_cast<uint8_t>(tail[0]), content, get(tail.substr(1)), get(tail.substr(9))});
    bytes.erase(0, kHeader + length);
  }
  return true;
}

SimTls& SimLoop::use_tls() {
  auto tls = std::make_unique<SimTls>(*this);
  SimTls& made = *tls;
  set_kernel_tls(std::move(tls));
  return made;
}

int SimTls::start(int fd, const io::KernelTlsKeys& keys, uint64_t& tcp_bytes) {
  SimLoop::Descriptor& d = loop_.at(fd);
  if (start_error) return -start_error;
  if (d.out) loop_.fail("the kernel's TLS starts with a send in flight");
  if (d.socket->state != Socket::State::connected) return -ENOTCONN;
  d.tls = std::make_unique<SimTlsState>();
  d.tls->key = key_of(keys);
  d.tls->sequence = keys.sequence;
  tcp_bytes = d.tls->tcp_bytes;
  ++starts;
  return 0;
}

int SimTls::renew(int fd, const io::KernelTlsKeys& keys) {
  SimLoop::Descriptor& d = loop_.at(fd);
  if (!d.tls || d.out) loop_.fail("keys are renewed where none are, or with a send in flight");
  if (renew_again > 0) return --renew_again, -EAGAIN;
  if (!can_renew) return -EBUSY;
  if (renew_error) return -renew_error;
  d.tls->key = key_of(keys);
  d.tls->sequence = keys.sequence;
  ++renewals;
  return 0;
}

int SimTls::send_record(int fd, uint8_t type, std::span<const uint8_t> content) {
  SimLoop::Descriptor& d = loop_.at(fd);
  if (!d.tls || d.out) loop_.fail("a record where the kernel writes none, or with a send in flight");
  Socket& s = *d.socket;
  if (s.error) return -loop_.net_.take_error(s);
  if (s.state != Socket::State::connected || s.reset_received || s.end_sent) return -EPIPE;
  if (again > 0) return --again, -EAGAIN;
  if (!push(d) || s.writable_bytes() == 0) return -EAGAIN;
  write_record(d, type, {reinterpret_cast<const char*>(content.data()), content.size()});
  if (!push(d)) push_later(fd);
  return 0;
}

bool SimTls::progress(int fd, Progress& p) {
  SimLoop::Descriptor& d = loop_.at(fd);
  if (!d.tls) return false;
  ++asked;
  p.sequence = d.tls->sequence + first_sequence_told;
  p.tcp_bytes = d.tls->tcp_bytes;
  return true;
}

void SimTls::write_record(SimLoop::Descriptor& d, uint8_t type, const std::string& content) {
  d.tls->pending += make_record({type, content, d.tls->key, d.tls->sequence++});
}

bool SimTls::push(SimLoop::Descriptor& d) {
  SimTlsState& t = *d.tls;
  Socket& s = *d.socket;
  if (t.pending.empty()) return true;
  if (s.state != Socket::State::connected || s.error || s.reset_received || s.end_sent) return false;
  const size_t n = loop_.net_.write(s, t.pending.data(), t.pending.size());
  t.tcp_bytes += n;
  t.pending.erase(0, n);
  return t.pending.empty();
}

// As the kernel's work queue does.
void SimTls::push_later(int fd) {
  loop_.net_.after(loop_.net_.between({}, std::chrono::milliseconds(2)), [this, fd] {
    const auto i = static_cast<size_t>(fd - SimLoop::kFirstFd);
    if (!loop_.descriptors_[i] || !loop_.descriptors_[i]->tls || loop_.descriptors_[i]->tls->pending.empty())
      return;
    if (push(*loop_.descriptors_[i])) loop_.attempt(*loop_.descriptors_[i]);
  });
}

void SimLoop::attempt_tls_send(Descriptor& d) {
  io::Op& op = *d.out;
  auto& kernel = static_cast<SimTls&>(*kernel_tls());
  if (!(op.state.send_flags & io::kMayBeShort)) {  // MSG_WAITALL
    done(op, -EOPNOTSUPP);
    return;
  }
  std::string content;
  for (uint32_t i = 0; i < op.state.iov_count; ++i)
    content.append(static_cast<const char*>(op.state.iov[i].iov_base), op.state.iov[i].iov_len);
  size_t taken = 0;
  while (taken < content.size() && kernel.push(d) && d.socket->writable_bytes() > 0) {
    size_t n = std::min<size_t>(content.size() - taken, io::KernelTls::kRecordContent);
    if (net_.chance(net_.faults().partial)) n = 1 + net_.random().below(n);
    kernel.write_record(d, kApplicationData, content.substr(taken, n));
    taken += n;
    if (n < content.size() - taken && net_.chance(net_.faults().partial)) break;
  }
  if (taken == 0) return;  // goes on when there is room
  if (!kernel.push(d)) kernel.push_later(op.state.fd);
  done(op, static_cast<int32_t>(taken));
}

}  // namespace sluice::sim
