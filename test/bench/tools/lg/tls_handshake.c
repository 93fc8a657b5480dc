// A TLS 1.3 client that costs a fraction of the server: see lg.h.
#include "lg.h"

static const uint8_t G_POINT[65] = {
    0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2,
    0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f,
    0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce,
    0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5};

// session for --resume
static uint8_t tk[2048], tk_psk[HL];
size_t tk_len;  // of the session ticket held for --resume
static uint32_t tk_age_add;
static uint64_t tk_time;

static EVP_PKEY* x_key;  // with --x25519
static uint8_t x_point[32];

static EVP_CIPHER* gcm;
static EVP_CIPHER_CTX *enc_ctx, *dec_ctx;
static char t_req[512];
static size_t t_req_len;
uint64_t n_resumed, n_full;

static void hmac(const uint8_t* k, size_t kl, const uint8_t* a, size_t al, const uint8_t* b, size_t bl,
                 uint8_t* out) {
  uint8_t ip[64], op[64], in[HL];
  memset(ip, 0x36, 64);
  memset(op, 0x5c, 64);
  for (size_t i = 0; i < kl; i++) ip[i] ^= k[i], op[i] ^= k[i];
  SHA256_CTX c;
  SHA256_Init(&c);
  SHA256_Update(&c, ip, 64);
  SHA256_Update(&c, a, al);
  if (bl) SHA256_Update(&c, b, bl);
  SHA256_Final(in, &c);
  SHA256_Init(&c);
  SHA256_Update(&c, op, 64);
  SHA256_Update(&c, in, HL);
  SHA256_Final(out, &c);
}
static void expand_label(const uint8_t* secret, const char* label, const uint8_t* ctx, size_t cl,
                         uint8_t* out, size_t n) {
  uint8_t b[128], t[HL];
  size_t l = strlen(label), p = 0;
  b[p++] = n >> 8;
  b[p++] = n;
  b[p++] = 6 + l;
  memcpy(b + p, "tls13 ", 6), p += 6;
  memcpy(b + p, label, l), p += l;
  b[p++] = cl;
  if (cl) memcpy(b + p, ctx, cl), p += cl;
  b[p++] = 1;
  hmac(secret, HL, b, p, NULL, 0, t);  // every output here is at most 32 bytes: one block
  memcpy(out, t, n);
}
static uint8_t empty_hash[HL], zeros[HL];
static void tr_hash(TConn* c, uint8_t* out) {
  SHA256_CTX t = c->tr;
  SHA256_Final(out, &t);
}
static void set_keys(Keys* k, const uint8_t* secret) {
  expand_label(secret, "key", NULL, 0, k->key, 16);
  expand_label(secret, "iv", NULL, 0, k->iv, 12);
  k->seq = 0;
}
static void nonce(Keys* k, uint8_t* n) {
  memcpy(n, k->iv, 12);
  for (int i = 0; i < 8; i++) n[11 - i] ^= k->seq >> (8 * i);
  k->seq++;
}
static size_t seal(Keys* k, int type, const uint8_t* in, size_t n, uint8_t* out) {
  uint8_t nn[12], ty = type;
  int l;
  size_t cl = n + 1 + 16;
  out[0] = 23, out[1] = 3, out[2] = 3, out[3] = cl >> 8, out[4] = cl;
  nonce(k, nn);
  EVP_EncryptInit_ex(enc_ctx, NULL, NULL, k->key, nn);
  EVP_EncryptUpdate(enc_ctx, NULL, &l, out, 5);
  EVP_EncryptUpdate(enc_ctx, out + 5, &l, in, n);
  EVP_EncryptUpdate(enc_ctx, out + 5 + n, &l, &ty, 1);
  EVP_EncryptFinal_ex(enc_ctx, out + 5 + n + 1, &l);
  EVP_CIPHER_CTX_ctrl(enc_ctx, EVP_CTRL_AEAD_GET_TAG, 16, out + 5 + n + 1);
  return 5 + cl;
}
// decrypts the record in place; returns the plaintext length and its type, -1 when the tag is wrong
static long unseal(Keys* k, uint8_t* rec, size_t n, int* type) {
  uint8_t nn[12], hdr[5];
  int l;
  memcpy(hdr, rec, 5);
  nonce(k, nn);
  n -= 16;
  EVP_DecryptInit_ex(dec_ctx, NULL, NULL, k->key, nn);
  EVP_DecryptUpdate(dec_ctx, NULL, &l, hdr, 5);
  EVP_CIPHER_CTX_ctrl(dec_ctx, EVP_CTRL_AEAD_SET_TAG, 16, rec + 5 + n);
  EVP_DecryptUpdate(dec_ctx, rec + 5, &l, rec + 5, n);
  if (EVP_DecryptFinal_ex(dec_ctx, rec + 5 + n, &l) != 1) return -1;
  while (n && rec[5 + n - 1] == 0) n--;
  if (!n) return -1;
  *type = rec[5 + n - 1];
  return n - 1;
}
size_t t_seal(TConn* c, const uint8_t* in, size_t n, uint8_t* out) {
  return seal(&c->wr, 23, in, n, out);
}
long t_unseal(TConn* c, uint8_t* rec, size_t n, int* type) {
  return unseal(&c->rd, rec, n, type);
}
static int x_derive(const uint8_t* share, uint8_t* out) {
  size_t n = 32;
  EVP_PKEY* peer = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, share, 32);
  EVP_PKEY_CTX* x = EVP_PKEY_CTX_new(x_key, NULL);
  int ok = peer && x && EVP_PKEY_derive_init(x) == 1 && EVP_PKEY_derive_set_peer(x, peer) == 1 &&
           EVP_PKEY_derive(x, out, &n) == 1;
  EVP_PKEY_CTX_free(x);
  EVP_PKEY_free(peer);
  return ok ? 0 : -1;
}
static uint8_t* p16(uint8_t* p, unsigned v) {
  *p++ = v >> 8;
  *p++ = v;
  return p;
}
static size_t client_hello(TConn* c, uint8_t* out, uint8_t* early) {
  uint8_t *p = out + 5, *hs = p;
  *p++ = 1;
  uint8_t* hl = p;
  p += 3;
  p = p16(p, 0x0303);
  static uint64_t x = 88172645463325252ull;
  for (int i = 0; i < 4; i++) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    memcpy(p, &x, 8), p += 8;
  }
  *p++ = 0;
  p = p16(p, 2), p = p16(p, 0x1301);
  *p++ = 1, *p++ = 0;
  uint8_t* el = p;
  p += 2;
  size_t sl = strlen(o_host);
  p = p16(p, 0), p = p16(p, sl + 5), p = p16(p, sl + 3), *p++ = 0, p = p16(p, sl), memcpy(p, o_host, sl),
  p += sl;
  p = p16(p, 10), p = p16(p, 4), p = p16(p, 2), p = p16(p, o_x25519 ? 29 : 23);
  p = p16(p, 13), p = p16(p, 6), p = p16(p, 4), p = p16(p, 0x0403), p = p16(p, 0x0804);
  p = p16(p, 16), p = p16(p, 11), p = p16(p, 9), *p++ = 8, memcpy(p, "http/1.1", 8), p += 8;
  p = p16(p, 43), p = p16(p, 3), *p++ = 2, p = p16(p, 0x0304);
  p = p16(p, 45), p = p16(p, 2), *p++ = 1, *p++ = 1;
  const size_t gl = o_x25519 ? 32 : 65;
  p = p16(p, 51), p = p16(p, gl + 6), p = p16(p, gl + 4), p = p16(p, o_x25519 ? 29 : 23), p = p16(p, gl),
  memcpy(p, o_x25519 ? x_point : G_POINT, gl), p += gl;
  int psk = o_resume && tk_len;
  uint8_t* binders = NULL;
  if (psk) {
    uint32_t age = (uint32_t)((now_ns() - tk_time) / 1000000) + tk_age_add;
    p = p16(p, 41), p = p16(p, 2 + 2 + tk_len + 4 + 2 + 1 + HL), p = p16(p, 2 + tk_len + 4),
    p = p16(p, tk_len);
    memcpy(p, tk, tk_len), p += tk_len;
    p = p16(p, age >> 16), p = p16(p, age);
    binders = p;
    p = p16(p, 1 + HL), *p++ = HL, p += HL;
  }
  size_t ext = p - el - 2, body = p - hs - 4;
  p16(el, ext);
  hl[0] = 0, p16(hl + 1, body);
  out[0] = 22, out[1] = 3, out[2] = 1, p16(out + 3, p - hs);
  hmac(zeros, HL, psk ? tk_psk : zeros, HL, NULL, 0, early);
  SHA256_Init(&c->tr);
  if (psk) {
    uint8_t bk[HL], fk[HL], h[HL];
    SHA256_Update(&c->tr, hs, binders - hs);
    tr_hash(c, h);
    expand_label(early, "res binder", empty_hash, HL, bk, HL);
    expand_label(bk, "finished", NULL, 0, fk, HL);
    hmac(fk, HL, h, HL, NULL, 0, binders + 3);
    SHA256_Update(&c->tr, binders, p - binders);
  } else
    SHA256_Update(&c->tr, hs, p - hs);
  return p - out;
}
static int t_send(TConn* c, const uint8_t* p, size_t n) {
  return send(c->fd, p, n, MSG_NOSIGNAL) == (ssize_t)n ? 0 : -1;
}

int t_request(TConn* c, const uint8_t* pre, size_t pren) {
  uint8_t o[8192];
  memcpy(o, pre, pren);
  size_t n = pren + seal(&c->wr, 23, (uint8_t*)t_req, t_req_len, o + pren);
  c->resp_len = 0;
  c->body = c->want = 0;
  return t_send(c, o, n);
}
static uint8_t t_early[HL];  // of the connection being started; kept in hs_secret between flights

static int t_hello(TConn* c) {
  uint8_t o[4096];
  size_t n = client_hello(c, o, t_early);
  memcpy(c->hs_secret, t_early, HL);
  c->st = 0;
  c->len = c->hs_len = 0;
  c->resumed = c->asked = 0;
  c->resp_len = 0;
  return t_send(c, o, n);
}
// handshake message; 0 ok, -1 error
static int t_message(TConn* c, uint8_t* m, size_t n) {
  int type = m[0];
  uint8_t h[HL];
  if (c->st == 0) {  // ServerHello
    if (type != 2 || n < 44) return -1;
    static const uint8_t hrr[4] = {0xcf, 0x21, 0xad, 0x74};
    if (!memcmp(m + 6, hrr, 4)) return -1;
    size_t p = 38;
    p += 1 + m[p];
    if (m[p] != 0x13 || m[p + 1] != 0x01) return -1;
    p += 3;
    size_t e = p + 2 + (m[p] << 8 | m[p + 1]);
    p += 2;
    const uint8_t* share = NULL;
    if (e > n) return -1;
    while (p + 4 <= e) {
      unsigned t = m[p] << 8 | m[p + 1], l = m[p + 2] << 8 | m[p + 3];
      if (t == 51 && l == (o_x25519 ? 36 : 69)) share = m + p + 8;
      if (t == 41) c->resumed = 1;
      p += 4 + l;
    }
    uint8_t xs[32];
    if (!share || (!o_x25519 && share[0] != 4) || (o_x25519 && x_derive(share, xs))) return -1;
    SHA256_Update(&c->tr, m, n);
    uint8_t early[HL], d[HL];
    memcpy(early, c->hs_secret, HL);
    if (!c->resumed && o_resume && tk_len) hmac(zeros, HL, zeros, HL, NULL, 0, early);
    expand_label(early, "derived", empty_hash, HL, d, HL);
    // private key 1: the secret is the server share's x
    hmac(d, HL, o_x25519 ? xs : share + 1, 32, NULL, 0, c->hs_secret);
    tr_hash(c, h);
    expand_label(c->hs_secret, "c hs traffic", h, HL, c->c_hs, HL);
    expand_label(c->hs_secret, "s hs traffic", h, HL, c->s_hs, HL);
    set_keys(&c->rd, c->s_hs);
    set_keys(&c->wr, c->c_hs);
    c->st = 1;
    return 0;
  }
  if (c->st == 1) {
    if (type == 20) {
      uint8_t fk[HL], mac[HL], d[HL], fin[4 + HL], c_ap[HL], s_ap[HL], o[5120];
      tr_hash(c, h);
      expand_label(c->s_hs, "finished", NULL, 0, fk, HL);
      hmac(fk, HL, h, HL, NULL, 0, mac);
      if (n != 4 + HL || memcmp(mac, m + 4, HL)) return -1;
      SHA256_Update(&c->tr, m, n);
      expand_label(c->hs_secret, "derived", empty_hash, HL, d, HL);
      hmac(d, HL, zeros, HL, NULL, 0, c->master);
      tr_hash(c, h);
      expand_label(c->master, "c ap traffic", h, HL, c_ap, HL);
      expand_label(c->master, "s ap traffic", h, HL, s_ap, HL);
      expand_label(c->c_hs, "finished", NULL, 0, fk, HL);
      size_t ol = 0;
      if (c->asked) {
        uint8_t m2[4096];
        size_t l = t_certificate(m2);
        SHA256_Update(&c->tr, m2, l);
        ol = seal(&c->wr, 22, m2, l, o);
        tr_hash(c, h);
        l = t_certificate_verify(h, m2);
        if (!l) return -1;
        SHA256_Update(&c->tr, m2, l);
        ol += seal(&c->wr, 22, m2, l, o + ol);
        tr_hash(c, h);
      }
      fin[0] = 20, fin[1] = fin[2] = 0, fin[3] = HL;
      hmac(fk, HL, h, HL, NULL, 0, fin + 4);
      ol += seal(&c->wr, 22, fin, sizeof fin, o + ol);
      SHA256_Update(&c->tr, fin, sizeof fin);
      tr_hash(c, c->fin_hash);
      set_keys(&c->rd, s_ap);
      set_keys(&c->wr, c_ap);
      c->st = 2;
      return o_silent ? t_send(c, o, ol) : t_request(c, o, ol);
    }
    if (type == 13) {  // CertificateRequest; its context is empty in a handshake
      if (!t_have_certificate() || n < 5 || m[4]) return -1;
      c->asked = 1;
    }
    SHA256_Update(&c->tr, m, n);
    return 0;
  }
  if (type == 4 && c->want_ticket && !tk_len) {  // NewSessionTicket
    size_t nl = m[12], p = 13 + nl, l;
    if (p + 2 > n) return -1;
    l = m[p] << 8 | m[p + 1];
    if (l > sizeof tk || p + 2 + l > n) return -1;
    expand_label(c->master, "res master", c->fin_hash, HL, c->res_master, HL);
    expand_label(c->res_master, "resumption", m + 13, nl, tk_psk, HL);
    memcpy(tk, m + p + 2, l);
    tk_age_add = (uint32_t)m[8] << 24 | m[9] << 16 | m[10] << 8 | m[11];
    tk_time = now_ns();
    tk_len = l;
  }
  return 0;
}
static void grow(uint8_t** b, size_t* cap, size_t need) {
  if (*cap >= need) return;
  while (*cap < need) *cap = *cap ? *cap * 2 : 4096;
  *b = realloc(*b, *cap);
}
// 1: response complete, 0: more, -1: error
int t_read(TConn* c) {
  grow(&c->buf, &c->cap, c->len + 20000);
  ssize_t r = recv(c->fd, c->buf + c->len, c->cap - c->len, 0);
  if (r < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
  if (r == 0) return -1;
  c->len += r;
  size_t pos = 0;
  int done = 0;
  while (c->len - pos >= 5) {
    uint8_t* rec = c->buf + pos;
    size_t n = rec[3] << 8 | rec[4];
    if (c->len - pos < 5 + n) break;
    pos += 5 + n;
    int type = rec[0];
    long pl = n;
    if (type == 20) continue;
    if (type == 21) return -1;
    if (type == 23) {
      if (c->st == 0 || n < 17) return -1;
      pl = unseal(&c->rd, rec, n, &type);
      if (pl < 0) return -1;
    }
    uint8_t* d = rec + 5;
    if (type == 22) {
      grow(&c->hs, &c->hs_cap, c->hs_len + pl);
      memcpy(c->hs + c->hs_len, d, pl);
      c->hs_len += pl;
      size_t q = 0;
      while (c->hs_len - q >= 4) {
        size_t ml = 4 + (c->hs[q + 1] << 16 | c->hs[q + 2] << 8 | c->hs[q + 3]);
        if (c->hs_len - q < ml) break;
        if (t_message(c, c->hs + q, ml)) return -1;
        q += ml;
      }
      memmove(c->hs, c->hs + q, c->hs_len - q);
      c->hs_len -= q;
    } else if (type == 23) {
      bytes_in += pl;
      if (!c->want) {
        size_t k = (size_t)pl < sizeof c->resp - c->resp_len ? (size_t)pl : sizeof c->resp - c->resp_len;
        memcpy(c->resp + c->resp_len, d, k);
        c->resp_len += k;
        uint8_t* e = memmem(c->resp, c->resp_len, "\r\n\r\n", 4);
        if (e) {
          if (memcmp(c->resp + 9, "200", 3)) return -1;
          long cl = -1;
          for (uint8_t* p = memchr(c->resp, '\n', e - c->resp); p; p = memchr(p + 1, '\n', e - p - 1))
            if (!strncasecmp((char*)p + 1, "content-length:", 15)) cl = strtol((char*)p + 16, NULL, 10);
          if (cl < 0) return -1;
          c->want = (e + 4 - c->resp) + cl;
        }
      }
      c->body += pl;
      if (c->want && c->body >= c->want) {
        if (c->body > c->want) return -1;
        done = 1;
      }
    } else
      return -1;
  }
  memmove(c->buf, c->buf + pos, c->len - pos);
  c->len -= pos;
  return done;
}
void t_init(void) {
  SHA256((const uint8_t*)"", 0, empty_hash);
  gcm = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
  enc_ctx = EVP_CIPHER_CTX_new();
  dec_ctx = EVP_CIPHER_CTX_new();
  EVP_EncryptInit_ex(enc_ctx, gcm, NULL, NULL, NULL);
  EVP_DecryptInit_ex(dec_ctx, gcm, NULL, NULL, NULL);
  t_load_certificate();
  size_t xl = sizeof x_point;
  if (o_x25519 && (!(x_key = EVP_PKEY_Q_keygen(NULL, NULL, "X25519")) ||
                   EVP_PKEY_get_raw_public_key(x_key, x_point, &xl) != 1))
    die("X25519");
  t_req_len = snprintf(t_req, sizeof t_req, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", o_path, o_host);
}
void t_open(TConn* c, int seq) {
  c->up = 0;
  c->start = now_ns();
  c->fd = dial(seq, 1);
  if (c->fd < 0) die("connect");
  ep_add(c->fd, EPOLLOUT, c);
}
// connection became writable: start the handshake; 0 ok
int t_connected(TConn* c) {
  int e = 0;
  socklen_t l = sizeof e;
  getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &l);
  if (e) return -1;
  c->up = 1;
  ep_mod(c->fd, EPOLLIN, c);
  return t_hello(c);
}
