#include "core/buffer.h"

#include <doctest/doctest.h>

#include <array>
#include <vector>

#include "core/random.h"

using namespace sluice;

namespace {

std::string text(Random& r, size_t n) {
  std::string s(n, '\0');
  for (char& c : s) c = static_cast<char>('a' + r.below(26));
  return s;
}

}  // namespace

TEST_CASE("buffers against strings, random operations") {
  const uint64_t seed = 4711;
  CAPTURE(seed);
  Random random(seed);
  BlockPool pool;
  for (int round = 0; round < 200; ++round) {
    std::array<Buffer, 3> buffers;
    std::array<std::string, 3> model;
    for (int step = 0; step < 200; ++step) {
      const size_t i = random.below(3), j = (i + 1 + random.below(2)) % 3;
      switch (random.below(8)) {
        case 0:
        case 1: {
          std::string s = text(random, random.below(10) ? random.below(300) : random.below(40'000));
          buffers[i].append(pool, s);
          model[i] += s;
          break;
        }
        case 2: {  // one block seen by two buffers
          std::string s = text(random, 1 + random.below(100));
          Block* b = pool.get(BlockPool::kSmall);
          std::copy(s.begin(), s.end(), reinterpret_cast<char*>(b->data));
          Chunk c(b, 0, static_cast<uint32_t>(s.size()));
          const auto from = static_cast<uint32_t>(random.below(s.size()));
          buffers[j].append(c.share(from, static_cast<uint32_t>(s.size()) - from));
          model[j] += s.substr(from);
          buffers[i].append(std::move(c));
          model[i] += s;
          break;
        }
        case 3:
          buffers[i].append(std::move(buffers[j]));
          model[i] += std::exchange(model[j], {});
          break;
        case 4: {
          const size_t n = random.below(buffers[i].size() + 1);
          buffers[i].move_front_to(buffers[j], n);
          model[j] += model[i].substr(0, n);
          model[i].erase(0, n);
          break;
        }
        case 5: {
          const size_t n = random.below(buffers[i].size() + 1);
          buffers[i].drain(n);
          model[i].erase(0, n);
          break;
        }
        case 6:
          if (random.chance(1, 5)) {
            buffers[i].clear();
            model[i].clear();
          } else {
            Buffer moved(std::move(buffers[i]));
            buffers[i] = std::move(moved);
          }
          break;
        case 7: {
          std::string scratch;
          const size_t n = random.below(buffers[i].size() + 20);
          REQUIRE(buffers[i].peek(n, scratch) == model[i].substr(0, n));
          std::array<iovec, 5> iov;
          std::string front;
          const size_t used = buffers[i].iovecs(iov);
          REQUIRE(used == std::min<size_t>(5, buffers[i].chunks()));
          for (size_t k = 0; k < used; ++k) front.append(static_cast<char*>(iov[k].iov_base), iov[k].iov_len);
          REQUIRE(model[i].starts_with(front));
          break;
        }
      }
      for (size_t k = 0; k < 3; ++k) {
        REQUIRE(buffers[k].size() == model[k].size());
        REQUIRE(buffers[k].empty() == model[k].empty());
      }
      if (step % 20 == 0)
        for (size_t k = 0; k < 3; ++k) REQUIRE(buffers[k].to_string() == model[k]);
    }
  }
  CHECK(pool.outstanding() == 0);
}

TEST_CASE("moving between buffers copies nothing") {
  BlockPool pool;
  Buffer a, b;
  Block* block = pool.get(BlockPool::kMedium);
  a.append(Chunk(block, 0, 1000));
  a.move_front_to(b, 400);
  CHECK(b.chunk(0).data() == block->data);
  CHECK(a.chunk(0).data() == block->data + 400);
  CHECK(pool.outstanding() == 1);
  b.append(std::move(a));
  CHECK(b.size() == 1000);
  CHECK(b.chunk(1).data() == block->data + 400);
  b.clear();
  CHECK(pool.outstanding() == 0);
}

TEST_CASE("bytes are appended in place only where nobody else sees the block") {
  BlockPool pool;
  Buffer a, b;
  a.append(pool, "alone ");
  a.append(pool, "still");
  CHECK(a.chunks() == 1);
  b.append(a.chunk(0).share(0, 5));
  a.append(pool, "!");
  CHECK(a.chunks() == 2);
  CHECK(a.to_string() == "alone still!");
  CHECK(b.to_string() == "alone");
}

TEST_CASE("a pool uses blocks again, by size, and keeps a bounded number") {
  BlockPool pool;
  Block* first = pool.get(1);
  CHECK(first->capacity == BlockPool::kSmall);
  CHECK(reinterpret_cast<uintptr_t>(first->data) % 64 == 0);
  pool.release(first);
  CHECK(pool.get(BlockPool::kSmall) == first);
  Block* medium = pool.get(BlockPool::kSmall + 1);
  CHECK(medium->capacity == BlockPool::kMedium);
  Block* odd = pool.get(BlockPool::kLarge + 1);
  CHECK(odd->capacity >= BlockPool::kLarge + 1);
  CHECK(pool.outstanding() == 3);
  for (Block* b : {first, medium, odd}) pool.release(b);
  std::vector<Block*> many;
  for (int i = 0; i < 1000; ++i) many.push_back(pool.get(BlockPool::kMedium));
  for (Block* b : many) pool.release(b);  // most of them go back to the system: the leak checker watches
  CHECK(pool.outstanding() == 0);
}

TEST_CASE("a chunk keeps its block alive, whoever made it goes first") {
  BlockPool pool;
  Chunk kept;
  {
    Buffer b;
    b.append(pool, "0123456789");
    kept = b.chunk(0).share(3, 4);
  }
  CHECK(pool.outstanding() == 1);
  CHECK(kept.view() == "3456");
  kept.drop_front(1);
  kept.keep_front(2);
  CHECK(kept.view() == "45");
  kept.reset();
  CHECK(pool.outstanding() == 0);
}
