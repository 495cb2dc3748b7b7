# A file that is renamed over stays readable through its descriptor.
# groups: rename
echo old >victim; echo new >source
exec 3<victim
mv source victim
cat <&3; cat victim; ls
