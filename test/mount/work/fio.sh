# Random writes of four jobs, verified by checksum: through the cache, around it, through a mapping, and asynchronous.
job() { fio --name=v --directory=. --rw=randwrite --bs=4k --size=8m --numjobs=4 --verify=crc32c --verify_fatal=1 --verify_state_save=0 --group_reporting "$@" >out.fio 2>&1 || { cat out.fio; exit 1; }; rm -f v.* out.fio; }
job --ioengine=psync
job --ioengine=psync --direct=1
job --ioengine=mmap
job --ioengine=psync --direct=1 --fallocate=none --bsrange=512-64k --blockalign=512 --norandommap
job --ioengine=libaio --iodepth=16 --direct=1 --fallocate=none --rw=write
job --ioengine=libaio --iodepth=16 --direct=1
job --ioengine=psync --bsrange=512-64k --bs_unaligned --norandommap --fsync=200
# One file that four jobs write, each its own part.
fio --name=one --filename=one --rw=randwrite --bs=4k --size=4m --offset_increment=4m --numjobs=4 --verify=crc32c --verify_fatal=1 --verify_state_save=0 >out.fio 2>&1 || { cat out.fio; exit 1; }
rm one out.fio
