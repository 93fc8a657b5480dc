#include "tls/bio.h"

#include <algorithm>
#include <cstring>

namespace sluice::tls {
namespace {

constexpr size_t kHeader = 5;

// The first bytes of `in`, fewer than `n` where there are no more.
size_t look(const Buffer& in, uint8_t* to, size_t n) {
  size_t got = 0;
  for (size_t i = 0; got < n && i < in.chunks(); ++i) {
    const size_t part = std::min<size_t>(n - got, in.chunk(i).size());
    std::memcpy(to + got, in.chunk(i).data(), part);
    got += part;
  }
  return got;
}

enum class Front : uint8_t { partial, whole, odd };

// RFC 8446 section 5.1 (and RFC 5246 section 6.2): type, version, length.
Front front_of(const Buffer& in, uint32_t& size) {
  uint8_t h[kHeader];
  if (look(in, h, kHeader) < kHeader) return Front::partial;
  const uint32_t length = static_cast<uint32_t>(h[3]) << 8 | h[4];
  if (h[0] < SSL3_RT_CHANGE_CIPHER_SPEC || h[0] > SSL3_RT_APPLICATION_DATA || h[1] != 3 ||
      length > SSL3_RT_MAX_ENCRYPTED_LENGTH)
    return Front::odd;
  size = kHeader + length;
  return in.size() < size ? Front::partial : Front::whole;
}

int read(BIO* bio, char* to, size_t n, size_t* got) {
  auto& w = *static_cast<Wire*>(BIO_get_data(bio));
  *got = 0;
  BIO_clear_retry_flags(bio);
  if (w.left == 0 && !w.raw) {
    if (!w.readable()) {
      BIO_set_retry_read(bio);
      return 0;
    }
    if (front_of(*w.in, w.left) == Front::odd) {
      w.raw = true;
    } else if (++w.quiet > w.quiet_limit) {
      w.flooded = true;
      w.left = 0;
      return 0;
    }
  }
  const size_t most = w.raw ? w.in->size() : w.left;
  *got = look(*w.in, reinterpret_cast<uint8_t*>(to), std::min(n, most));
  w.in->drain(*got);
  if (!w.raw) w.left -= static_cast<uint32_t>(*got);
  if (*got > 0) return 1;
  BIO_set_retry_read(bio);
  return 0;
}

int write(BIO* bio, const char* from, size_t n, size_t* put) {
  auto& w = *static_cast<Wire*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  w.out->append(*w.blocks, {from, n});
  *put = n;
  return 1;
}

long control(BIO*, int command, long, void*) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

const BIO_METHOD* method() {
  static const BIO_METHOD* m = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sluice");
    BIO_meth_set_read_ex(made, read);
    BIO_meth_set_write_ex(made, write);
    BIO_meth_set_ctrl(made, control);
    return made;
  }();
  return m;
}

}  // namespace

bool Wire::readable() const {
  if (!in || in->empty()) return false;
  if (left > 0 || raw) return true;
  uint32_t size = 0;
  return front_of(*in, size) != Front::partial;
}

BioPtr make_bio(Wire* wire) {
  BioPtr bio(BIO_new(method()));
  BIO_set_data(bio.get(), wire);
  BIO_set_init(bio.get(), 1);
  return bio;
}

}  // namespace sluice::tls
