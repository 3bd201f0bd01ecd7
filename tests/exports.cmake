# Whether libplumb.so exports exactly what its headers declare: nothing that only the engine or an
# op uses, and no declaration without code. And whether those headers are C99 and C++11.
#   cmake -DLIBRARY=libplumb.so -DNM=nm -DCC=cc [-DCXX=c++] -DINCLUDE=<folder> -DHEADERS=<file>
#       -P exports.cmake
cmake_minimum_required(VERSION 3.25)
set(strict -pedantic -Wall -Wextra -Werror -fsyntax-only -I${INCLUDE} -include ${HEADERS})
execute_process(COMMAND ${CC} -std=c99 ${strict} -x c /dev/null COMMAND_ERROR_IS_FATAL ANY)
if(CXX)
    execute_process(COMMAND ${CXX} -std=c++11 ${strict} -x c++ /dev/null
        COMMAND_ERROR_IS_FATAL ANY)
endif()
execute_process(COMMAND ${NM} -D --defined-only --format=posix ${LIBRARY}
    OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
string(REGEX REPLACE " [^\n]*\n" ";" exported "${symbols}")
execute_process(COMMAND ${CC} -E -P -I${INCLUDE} ${HEADERS}
    OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
# What is left of the text are prototypes: a semicolon would part a list.
string(REPLACE ";" "@" text "${text}")
string(REGEX REPLACE "typedef [^@]*@" "" text "${text}")
string(REGEX REPLACE "static inline [^{]*{[^}]*}" "" text "${text}")
string(REGEX MATCHALL "plumb_[a-z0-9_]+ *\\(" names "${text}")
list(TRANSFORM names REPLACE " *\\(" "")
set(declared plumb_cpu plumb_ref ${names})
list(SORT declared)
list(REMOVE_DUPLICATES declared)
list(LENGTH declared count)
if(count LESS 50)
    message(FATAL_ERROR "exports: only ${count} declarations found")
endif()
set(unknown ${exported})
list(REMOVE_ITEM unknown ${declared})
set(missing ${declared})
list(REMOVE_ITEM missing ${exported})
if(unknown OR missing)
    message(FATAL_ERROR "exports: in no installed header: ${unknown}\ndeclared, but not exported: "
        "${missing}")
endif()
message(STATUS "exports: ${count} symbols, all of them declared")
