# Build-wide settings: language level, warnings, sanitizers, compiler cache.
set(SLUICE_SANITIZE "" CACHE STRING "Sanitizers: address;undefined, or thread, or empty")
option(SLUICE_WERROR "Warnings are errors" ON)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "" FORCE)
endif()
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1 -fno-omit-frame-pointer")
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g1 -fno-omit-frame-pointer")

# Caches live outside the checkout, so that a fresh clone builds fast.
if(DEFINED ENV{SLUICE_CACHE})
  set(SLUICE_CACHE_DIR $ENV{SLUICE_CACHE})
elseif(DEFINED ENV{XDG_CACHE_HOME})
  set(SLUICE_CACHE_DIR $ENV{XDG_CACHE_HOME}/sluice)
else()
  set(SLUICE_CACHE_DIR $ENV{HOME}/.cache/sluice)
endif()

find_program(SLUICE_CCACHE ccache)
if(SLUICE_CCACHE)
  # Paths are made relative to the checkout, so that two clones share the cache.
  set(SLUICE_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_DIR=${SLUICE_CACHE_DIR}/ccache
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=time_macros ${SLUICE_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${SLUICE_LAUNCHER})
  set(CMAKE_C_COMPILER_LAUNCHER ${SLUICE_LAUNCHER})
  add_compile_options(-ffile-prefix-map=${CMAKE_SOURCE_DIR}=.)
endif()

find_program(SLUICE_LLD ld.lld-19)
if(SLUICE_LLD AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  add_link_options(-fuse-ld=lld)
endif()

add_library(sluice_flags INTERFACE)
target_compile_options(sluice_flags INTERFACE -Wall -Wextra -Wno-unused-parameter
  -Wnon-virtual-dtor $<$<BOOL:${SLUICE_WERROR}>:-Werror>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(sluice_flags INTERFACE -Wthread-safety)
endif()
target_include_directories(sluice_flags INTERFACE ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR}/userspace
  ${CMAKE_SOURCE_DIR})

# Fuzz targets (test/fuzz): everything gets libFuzzer's coverage and the sanitizers.
option(SLUICE_FUZZ "Build the libFuzzer programs of test/fuzz; clang alone" OFF)
if(SLUICE_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
  if(NOT SLUICE_SANITIZE)
    set(SLUICE_SANITIZE address undefined)
  endif()
endif()

if(SLUICE_SANITIZE)
  foreach(s IN LISTS SLUICE_SANITIZE)
    add_compile_options(-fsanitize=${s})
    add_link_options(-fsanitize=${s})
  endforeach()
  add_compile_options(-fno-sanitize-recover=all)
endif()
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
