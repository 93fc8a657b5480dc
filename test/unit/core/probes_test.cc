#include "core/probes.h"

#include <doctest/doctest.h>
#include <elf.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

using namespace sluice;

namespace {

// The static probes of this program: name → number of arguments, from its .note.stapsdt section.
std::map<std::string, int> probes_of_self() {
  std::ifstream in("/proc/self/exe", std::ios::binary);
  std::string elf{std::istreambuf_iterator<char>(in), {}};
  auto* header = reinterpret_cast<const Elf64_Ehdr*>(elf.data());
  auto* sections = reinterpret_cast<const Elf64_Shdr*>(elf.data() + header->e_shoff);
  const char* names = elf.data() + sections[header->e_shstrndx].sh_offset;
  std::map<std::string, int> out;
  for (int i = 0; i < header->e_shnum; ++i) {
    if (std::strcmp(names + sections[i].sh_name, ".note.stapsdt") != 0) continue;
    const char* at = elf.data() + sections[i].sh_offset;
    const char* end = at + sections[i].sh_size;
    auto padded = [](size_t n) { return (n + 3) & ~size_t{3}; };
    while (at < end) {
      auto* note = reinterpret_cast<const Elf64_Nhdr*>(at);
      const char* text = at + sizeof *note + padded(note->n_namesz) + 3 * sizeof(uint64_t);
      std::string provider = text, name = text + provider.size() + 1,
                  arguments = text + provider.size() + name.size() + 2;
      int count = arguments.empty() ? 0 : 1;
      for (char c : arguments) count += c == ' ';
      if (provider == "sluice") out[name] = count;
      at += sizeof *note + padded(note->n_namesz) + padded(note->n_descsz);
    }
  }
  return out;
}

[[gnu::noinline]] void fire_all(uint64_t id, const Address& a) {
  probes::accepted(id, 3, a, a, "l");
  probes::original_dst(id, a);
  probes::chain(id, "l", "c", true);
  probes::upstream_chosen(id, "c", a, 1);
  probes::upstream_connected(id, "c", a, 5);
  probes::upstream_failed(id, "c", a, 2, 1);
  probes::first_bytes(id, probes::Side::upstream, 9);
  probes::half_close(id, probes::Side::downstream);
  probes::closed(id, 1, 2, "d", 3, 0);
}

}  // namespace

TEST_CASE("every probe is in the binary with the arguments that its comment lists") {
  fire_all(1, Address::parse("127.0.0.1:80").value());
  std::map<std::string, int> want = {
      {"accepted", 5},        {"original_dst", 2},       {"chain", 4},
      {"upstream_chosen", 4}, {"upstream_connected", 4}, {"upstream_failed", 5},
      {"first_bytes", 3},     {"half_close", 2},         {"closed", 6}};
  CHECK(probes_of_self() == want);
}
