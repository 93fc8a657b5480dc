#include "tls/record_layer.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>

#include "tls/errors.h"

namespace sluice::tls {
namespace {

constexpr size_t kHeader = 5, kTag = 16, kNonce = 12;
constexpr size_t kMaxPlain = 16384;
constexpr size_t kMaxCipher = kMaxPlain + 256;  // RFC 8446 section 5.2
constexpr size_t kOverhead = kHeader + 1 + kTag;
// Key updates and empty records in a row: BoringSSL's limit.
constexpr uint32_t kQuietRecords = 32;
// RFC 8446 section 5.5: about 2^24.5 full records under one AES-GCM key.
constexpr uint64_t kRecordsPerKey = 1 << 24;

enum Type : uint8_t { change_cipher_spec = 20, alert_ = 21, handshake_ = 22, application_data = 23 };
enum Alert : uint8_t {
  close_notify_ = 0,
  unexpected_message = 10,
  bad_record_mac = 20,
  record_overflow = 22,
  illegal_parameter = 47,
  decode_error = 50,
  internal_error = 80,
  user_canceled = 90,
};

using CipherCtxPtr = Owned<EVP_CIPHER_CTX, EVP_CIPHER_CTX_free>;
using CipherPtr = Owned<EVP_CIPHER, EVP_CIPHER_free>;
using MdPtr = Owned<EVP_MD, EVP_MD_free>;
using MdCtxPtr = Owned<EVP_MD_CTX, EVP_MD_CTX_free>;

// Algorithms are fetched once a thread: a fetch costs more than a record.
struct Algorithms {
  CipherPtr aes128{EVP_CIPHER_fetch(library(), "AES-128-GCM", nullptr)};
  CipherPtr aes256{EVP_CIPHER_fetch(library(), "AES-256-GCM", nullptr)};
  CipherPtr chacha{EVP_CIPHER_fetch(library(), "ChaCha20-Poly1305", nullptr)};
  MdPtr sha256{EVP_MD_fetch(library(), "SHA256", nullptr)};
  MdPtr sha384{EVP_MD_fetch(library(), "SHA384", nullptr)};
  MdCtxPtr digest{EVP_MD_CTX_new()};
};

Algorithms& algorithms() {
  static thread_local Algorithms a;
  return a;
}

// RFC 2104. `out`: as long as the hash.
void hmac(const EVP_MD* md, std::span<const uint8_t> key, std::span<const uint8_t> text, uint8_t* out) {
  EVP_MD_CTX* ctx = algorithms().digest.get();
  const auto block = static_cast<size_t>(EVP_MD_get_block_size(md));
  uint8_t pad[128] = {}, inner[EVP_MAX_MD_SIZE];
  auto pass = [&](uint8_t mask, std::span<const uint8_t> data, uint8_t* to) {
    std::memset(pad, mask, block);
    for (size_t i = 0; i < key.size(); ++i) pad[i] ^= key[i];
    EVP_DigestInit_ex(ctx, md, nullptr);
    EVP_DigestUpdate(ctx, pad, block);
    EVP_DigestUpdate(ctx, data.data(), data.size());
    EVP_DigestFinal_ex(ctx, to, nullptr);
  };
  pass(0x36, text, inner);
  pass(0x5c, {inner, static_cast<size_t>(EVP_MD_get_size(md))}, out);
  OPENSSL_cleanse(pad, sizeof(pad));
  OPENSSL_cleanse(inner, sizeof(inner));
}

// HKDF-Expand-Label with an empty context, RFC 8446 section 7.1: never longer than the hash, so that one round does.
void expand(const EVP_MD* md, std::span<const uint8_t> secret, std::string_view label,
            std::span<uint8_t> out) {
  uint8_t info[32];
  size_t n = 0;
  info[n++] = 0;
  info[n++] = static_cast<uint8_t>(out.size());
  info[n++] = static_cast<uint8_t>(6 + label.size());
  std::memcpy(info + n, "tls13 ", 6);
  std::memcpy(info + n + 6, label.data(), label.size());
  n += 6 + label.size();
  info[n++] = 0;
  info[n++] = 1;  // the round
  uint8_t whole[EVP_MAX_MD_SIZE];
  hmac(md, secret, {info, n}, whole);
  std::memcpy(out.data(), whole, out.size());
  OPENSSL_cleanse(whole, sizeof(whole));
}

// The first `n` bytes of `in`, which has them.
void look(const Buffer& in, uint8_t* to, size_t n, size_t from = 0) {
  for (size_t i = 0; n > 0; ++i) {
    const Chunk& c = in.chunk(i);
    if (from >= c.size()) {
      from -= c.size();
      continue;
    }
    const size_t part = std::min<size_t>(n, c.size() - from);
    std::memcpy(to, c.data() + from, part);
    to += part;
    n -= part;
    from = 0;
  }
}

// f(bytes) for each run of [from, from + n) in `in`. The bytes are this connection's alone: they may be written over.
template <typename F>
bool each_run(const Buffer& in, size_t from, size_t n, F f) {
  for (size_t i = 0; n > 0; ++i) {
    const Chunk& c = in.chunk(i);
    if (from >= c.size()) {
      from -= c.size();
      continue;
    }
    const size_t part = std::min<size_t>(n, c.size() - from);
    if (!f(const_cast<uint8_t*>(c.data()) + from, part)) return false;
    n -= part;
    from = 0;
  }
  return true;
}

}  // namespace

// ---- one direction ----

struct RecordLayer::Half {
  const EVP_MD* md = nullptr;
  const EVP_CIPHER* cipher = nullptr;
  CipherCtxPtr ctx{EVP_CIPHER_CTX_new()};
  bool encrypts = false;
  uint64_t sequence = 0;
  uint8_t iv[kNonce];
  uint8_t secret[48];

  ~Half() {
    OPENSSL_cleanse(secret, sizeof(secret));
    OPENSSL_cleanse(iv, sizeof(iv));
  }
  std::span<uint8_t> secret_span() { return {secret, static_cast<size_t>(EVP_MD_get_size(md))}; }

  // The key into the front of `key`, the nonce's base into `iv`.
  size_t derive(std::span<uint8_t, 32> key) {
    const auto size = static_cast<size_t>(EVP_CIPHER_get_key_length(cipher));
    expand(md, secret_span(), "key", key.first(size));
    expand(md, secret_span(), "iv", iv);
    return size;
  }
  bool set_keys() {
    uint8_t key[32];
    derive(key);
    const int ok = encrypts ? EVP_EncryptInit_ex2(ctx.get(), cipher, key, nullptr, nullptr)
                            : EVP_DecryptInit_ex2(ctx.get(), cipher, key, nullptr, nullptr);
    OPENSSL_cleanse(key, sizeof(key));
    return ok == 1;
  }
  // The next generation, RFC 8446 section 7.2.
  void advance() {
    uint8_t next[48];
    expand(md, secret_span(), "traffic upd", {next, secret_span().size()});
    std::memcpy(secret, next, secret_span().size());
    OPENSSL_cleanse(next, sizeof(next));
    sequence = 0;
  }
  void renew() {
    advance();
    set_keys();
  }
  // Ready for a record with this header.
  bool begin(const uint8_t* header) {
    uint8_t nonce[kNonce];
    std::memcpy(nonce, iv, kNonce);
    for (int i = 0; i < 8; ++i) nonce[kNonce - 1 - i] ^= static_cast<uint8_t>(sequence >> 8 * i);
    ++sequence;
    int n = 0;
    if (encrypts)
      return EVP_EncryptInit_ex2(ctx.get(), nullptr, nullptr, nonce, nullptr) == 1 &&
             EVP_EncryptUpdate(ctx.get(), nullptr, &n, header, kHeader) == 1;
    return EVP_DecryptInit_ex2(ctx.get(), nullptr, nullptr, nonce, nullptr) == 1 &&
           EVP_DecryptUpdate(ctx.get(), nullptr, &n, header, kHeader) == 1;
  }
  void encrypt(uint8_t* to, const uint8_t* from, size_t size) {
    int n = 0;
    EVP_EncryptUpdate(ctx.get(), to, &n, from, static_cast<int>(size));
  }
  void finish(uint8_t* tag) {
    int n = 0;
    EVP_EncryptFinal_ex(ctx.get(), tag, &n);
    EVP_CIPHER_CTX_ctrl(ctx.get(), EVP_CTRL_AEAD_GET_TAG, kTag, tag);
  }
};

RecordLayer::RecordLayer() : read_(std::make_unique<Half>()), write_(std::make_unique<Half>()) {}
RecordLayer::~RecordLayer() = default;

std::unique_ptr<RecordLayer> RecordLayer::make(const Keys& keys) {
  Algorithms& a = algorithms();
  const EVP_CIPHER* cipher = keys.suite == 0x1301   ? a.aes128.get()
                             : keys.suite == 0x1302 ? a.aes256.get()
                             : keys.suite == 0x1303 ? a.chacha.get()
                                                    : nullptr;
  const EVP_MD* md = keys.suite == 0x1302 ? a.sha384.get() : a.sha256.get();
  if (!cipher || !md) return nullptr;
  const auto size = static_cast<size_t>(EVP_MD_get_size(md));
  if (keys.read_secret.size() != size || keys.write_secret.size() != size) return nullptr;
  std::unique_ptr<RecordLayer> made(new RecordLayer);
  for (auto [half, secret] :
       {std::pair{made->read_.get(), keys.read_secret}, std::pair{made->write_.get(), keys.write_secret}}) {
    half->md = md;
    half->cipher = cipher;
    half->encrypts = half == made->write_.get();
    std::memcpy(half->secret, secret.data(), size);
    if (!half->set_keys()) return nullptr;
  }
  made->write_->sequence = keys.written;
  return made;
}

// ---- reading ----

RecordLayer::Outcome RecordLayer::open(Buffer& in, Buffer& plain, BlockPool& blocks, Buffer& out) {
  while (in.size() >= kHeader) {
    uint8_t header[kHeader];
    look(in, header, kHeader);
    const uint32_t length = static_cast<uint32_t>(header[3]) << 8 | header[4];
    if (header[0] != application_data || header[1] != 3)
      return fail(unexpected_message, 225, "UNEXPECTED_RECORD", blocks, out);
    if (length > kMaxCipher) return fail(record_overflow, 146, "ENCRYPTED_LENGTH_TOO_LONG", blocks, out);
    if (length < kTag + 1)
      return fail(bad_record_mac, 139, "DECRYPTION_FAILED_OR_BAD_RECORD_MAC", blocks, out);
    if (in.size() < kHeader + length) break;
    if (const Outcome o = open_record(in, length, plain, blocks, out); o != Outcome::ok) return o;
    if (quiet_ > kQuietRecords) return fail(unexpected_message, 260, "TOO_MANY_KEY_UPDATES", blocks, out);
  }
  return Outcome::ok;
}

RecordLayer::Outcome RecordLayer::open_record(Buffer& in, uint32_t length, Buffer& plain, BlockPool& blocks,
                                              Buffer& out) {
  uint8_t header[kHeader], tag[kTag];
  look(in, header, kHeader);
  look(in, tag, kTag, kHeader + length - kTag);
  size_t inner = length - kTag;
  EVP_CIPHER_CTX* ctx = read_->ctx.get();
  int n = 0;
  uint8_t none[kTag];
  const bool good = read_->begin(header) &&
                    each_run(in, kHeader, inner,
                             [&](uint8_t* p, size_t size) {
                               return EVP_DecryptUpdate(ctx, p, &n, p, static_cast<int>(size)) == 1;
                             }) &&
                    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, kTag, tag) == 1 &&
                    EVP_DecryptFinal_ex(ctx, none, &n) == 1;
  if (!good) return fail(bad_record_mac, 139, "DECRYPTION_FAILED_OR_BAD_RECORD_MAC", blocks, out);

  // RFC 8446 section 5.4: a record's limit is that of what stands in it, its type and its padding.
  if (inner > kMaxPlain + 1) return fail(record_overflow, 136, "DATA_LENGTH_TOO_LONG", blocks, out);
  // The content's type is the last byte that is not padding.
  uint8_t type = 0;
  while (inner > 0 && type == 0) {
    look(in, &type, 1, kHeader + inner - 1);
    --inner;
  }
  // A message that began in another record has no other kind of record in between (section 5.1).
  if (begun_ > 0 && type != handshake_)
    return fail(unexpected_message, 225, "UNEXPECTED_RECORD", blocks, out);
  if (type == application_data) {
    quiet_ = inner > 0 ? 0 : quiet_ + 1;
    in.drain(kHeader);
    in.move_front_to(plain, inner);
    in.drain(length - inner);
    return Outcome::ok;
  }
  ++quiet_;
  uint8_t content[8];
  const size_t size = std::min(inner, sizeof(content));
  look(in, content, size, kHeader);
  in.drain(kHeader + length);
  if (type == alert_) {
    if (inner != 2) return fail(inner ? decode_error : unexpected_message, 102, "BAD_ALERT", blocks, out);
    return alert({content, 2});
  }
  if (type == handshake_) return handshake({content, size}, blocks, out);
  return fail(unexpected_message, 225, "UNEXPECTED_RECORD", blocks, out);
}

// `bytes`: what a record holds, or its first 8. The client's certificate was asked for in the handshake or not at all, so that
// there is one message it may send: KeyUpdate, in as many records as it likes, and the last of them ends with it.
RecordLayer::Outcome RecordLayer::handshake(std::span<const uint8_t> bytes, BlockPool& blocks, Buffer& out) {
  constexpr uint8_t kFront[] = {SSL3_MT_KEY_UPDATE, 0, 0, 1};
  if (bytes.empty()) return fail(unexpected_message, 223, "UNEXPECTED_MESSAGE", blocks, out);
  for (size_t i = 0; i < bytes.size(); ++i, ++begun_) {
    if (begun_ == sizeof(kFront)) {
      if (bytes[i] > SSL_KEY_UPDATE_REQUESTED)
        return fail(illegal_parameter, 137, "DECODE_ERROR", blocks, out);
      if (i + 1 < bytes.size()) return fail(unexpected_message, 255, "EXCESS_HANDSHAKE_DATA", blocks, out);
      begun_ = 0;
      read_->renew();
      if (bytes[i] == SSL_KEY_UPDATE_REQUESTED) {
        // By the kernel: before the next application data, once for all that are asked for until then (section 4.6.3).
        if (by_kernel_)
          update_due_ = true;
        else
          renew_write_key(blocks, out);
      }
      break;
    }
    if (bytes[i] != kFront[begun_])
      return begun_ == 0 ? fail(unexpected_message, 223, "UNEXPECTED_MESSAGE", blocks, out)
                         : fail(decode_error, 137, "DECODE_ERROR", blocks, out);
  }
  return Outcome::ok;
}

RecordLayer::Outcome RecordLayer::alert(std::span<const uint8_t> message) {
  if (message[1] == close_notify_) return Outcome::ended;
  if (message[1] == user_canceled) return Outcome::ok;
  failure_ = alert_error(message[1]);
  return Outcome::failed;
}

RecordLayer::Outcome RecordLayer::fail(uint8_t alert, unsigned reason, const char* name, BlockPool& blocks,
                                       Buffer& out) {
  clear_errors();
  failure_ = own_error(reason, name);
  const uint8_t message[2] = {SSL3_AL_FATAL, alert};
  write_small(alert_, message, blocks, out);
  return Outcome::failed;
}

// ---- writing ----

void RecordLayer::seal(Buffer& plain, size_t n, BlockPool& blocks, Buffer& out) {
  while (n > 0) {
    const size_t records = (n + kMaxPlain - 1) / kMaxPlain;
    const size_t wanted = std::min<size_t>(n + records * kOverhead, BlockPool::kLarge);
    Block* block = blocks.get(static_cast<uint32_t>(wanted));
    uint8_t* const begin = block->data;
    size_t used = 0;
    while (n > 0 && block->capacity - used > kOverhead) {
      if (write_->sequence >= kRecordsPerKey) break;
      const size_t size = std::min({n, kMaxPlain, block->capacity - used - kOverhead});
      uint8_t* at = begin + used;
      const size_t length = size + 1 + kTag;
      const uint8_t header[kHeader] = {application_data, 3, 3, static_cast<uint8_t>(length >> 8),
                                       static_cast<uint8_t>(length)};
      std::memcpy(at, header, kHeader);
      at += kHeader;
      write_->begin(header);
      for (size_t left = size; left > 0;) {
        const Chunk& c = plain.chunk(0);
        const size_t part = std::min<size_t>(left, c.size());
        write_->encrypt(at, c.data(), part);
        at += part;
        left -= part;
        plain.drain(part);
      }
      const uint8_t type = application_data;
      write_->encrypt(at, &type, 1);
      write_->finish(at + 1);
      used += kOverhead + size;
      n -= size;
    }
    out.append(Chunk(block, 0, static_cast<uint32_t>(used)));
    if (write_->sequence >= kRecordsPerKey) renew_write_key(blocks, out);
  }
}

void RecordLayer::write_small(uint8_t type, std::span<const uint8_t> bytes, BlockPool& blocks, Buffer& out) {
  if (by_kernel_) {
    assert(type == alert_);  // a KeyUpdate goes by key_update()
    return out.append(blocks, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  uint8_t record[kOverhead + 8];
  const size_t length = bytes.size() + 1 + kTag;
  const uint8_t header[kHeader] = {application_data, 3, 3, static_cast<uint8_t>(length >> 8),
                                   static_cast<uint8_t>(length)};
  std::memcpy(record, header, kHeader);
  write_->begin(header);
  write_->encrypt(record + kHeader, bytes.data(), bytes.size());
  write_->encrypt(record + kHeader + bytes.size(), &type, 1);
  write_->finish(record + kHeader + bytes.size() + 1);
  out.append(blocks, {reinterpret_cast<const char*>(record), kHeader + length});
}

void RecordLayer::renew_write_key(BlockPool& blocks, Buffer& out) {
  const uint8_t message[5] = {SSL3_MT_KEY_UPDATE, 0, 0, 1, SSL_KEY_UPDATE_NOT_REQUESTED};
  write_small(handshake_, message, blocks, out);
  write_->renew();
}

void RecordLayer::close_notify(BlockPool& blocks, Buffer& out) {
  const uint8_t message[2] = {SSL3_AL_WARNING, close_notify_};
  write_small(alert_, message, blocks, out);
}

// ---- the kernel writes ----

bool RecordLayer::kernel_keys(io::KernelTlsKeys& keys) const {
  const Algorithms& a = algorithms();
  keys.suite = write_->cipher == a.aes128.get() ? 0x1301 : write_->cipher == a.aes256.get() ? 0x1302 : 0x1303;
  keys.sequence = write_->sequence;
  write_->derive(keys.key);
  std::memcpy(keys.iv.data(), write_->iv, kNonce);
  return true;
}

void RecordLayer::leave_writing(bool renews) {
  by_kernel_ = true;
  write_->ctx.reset();
  OPENSSL_cleanse(write_->iv, sizeof(write_->iv));
  if (!renews) OPENSSL_cleanse(write_->secret, sizeof(write_->secret));
}

void RecordLayer::on_kernel_sequence(uint64_t sequence) {
  if (sequence >= kRecordsPerKey) update_due_ = true;
}

std::string_view RecordLayer::key_update() const {
  constexpr std::string_view kMessage("\x18\0\0\x01\0", 5);  // update_not_requested
  static_assert(kMessage[0] == SSL3_MT_KEY_UPDATE && kMessage[4] == SSL_KEY_UPDATE_NOT_REQUESTED);
  return update_due_ ? kMessage : std::string_view();
}

void RecordLayer::on_key_update_sent() {
  update_due_ = false;
  write_->advance();
}

void RecordLayer::on_renewal_failed(BlockPool& blocks, Buffer& out) {
  fail(internal_error, 0, "KERNEL_CANNOT_RENEW_KEYS", blocks, out);
}

// ---- secrets ----

TrafficSecrets::~TrafficSecrets() {
  OPENSSL_cleanse(client_, sizeof(client_));
  OPENSSL_cleanse(server_, sizeof(server_));
}

void TrafficSecrets::note(std::string_view line) {
  constexpr std::string_view kClient = "CLIENT_TRAFFIC_SECRET_0 ", kServer = "SERVER_TRAFFIC_SECRET_0 ";
  const bool of_client = line.starts_with(kClient);
  if (!of_client && !line.starts_with(kServer)) return;
  const std::string_view hex = line.substr(line.rfind(' ') + 1);
  (of_client ? client_size_ : server_size_) = parse(hex, of_client ? client_ : server_);
}

// 0: not what it should be.
size_t TrafficSecrets::parse(std::string_view hex, uint8_t* to) {
  if (hex.size() % 2 != 0 || hex.size() > 2 * sizeof(client_)) return 0;
  for (size_t i = 0; i < hex.size() / 2; ++i) {
    const int high = OPENSSL_hexchar2int(static_cast<unsigned char>(hex[2 * i]));
    const int low = OPENSSL_hexchar2int(static_cast<unsigned char>(hex[2 * i + 1]));
    if (high < 0 || low < 0) return 0;
    to[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return hex.size() / 2;
}

}  // namespace sluice::tls
