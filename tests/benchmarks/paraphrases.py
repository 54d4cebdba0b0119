"""Pairs of questions that one answer serves, said in other words.

Written at one go for `bench_similar`, before it was first run, and not changed since: neither the
guards nor their word lists were made with them.
"""

from __future__ import annotations

PARAPHRASES: dict[str, tuple[tuple[str, str], ...]] = {
    "English": (
        ("What breed is this dog?", "Which breed of dog is this?"),
        ("How many windows does the house have?", "How many windows are on the house?"),
        ("What time does the clock show?", "What time is shown on the clock?"),
        ("What is written on the board?", "What does the board say?"),
        ("Who is in the picture?", "Who can be seen in the picture?"),
        ("Is the door open?", "Is that door open or not?"),
        ("What kind of food is on the plate?", "What food is on the plate?"),
        ("How tall is the tower?", "What is the height of the tower?"),
        ("What sport are they playing?", "Which sport is being played here?"),
        ("Can you read the number on the bus?", "What is the number on the bus?"),
        ("What is the woman holding?", "What does the woman hold in her hand?"),
        ("Summarize the chart.", "Give me a summary of this chart."),
        ("Is it raining?", "Is it raining in this photo?"),
        ("What does the graph show?", "What is shown in this graph?"),
        ("Which city is this?", "What city was this taken in?"),
        ("How many bottles are on the table?", "Count the bottles on the table."),
        ("Is there a bicycle?", "Can you see a bicycle?"),
        ("Translate the text on the menu.", "Please translate the menu's text."),
        ("What is the weather like?", "How is the weather?"),
        ("What is the dog looking at?", "What's that dog looking at?"),
        ("What material is the table made of?", "What is the table made of?"),
        ("What is the total on the receipt?", "What is the receipt's total amount?"),
        ("Describe what you see.", "Describe everything that you can see."),
        ("What does this error message mean?", "What is the meaning of this error message?"),
    ),
    "Chinese": (
        ("这是什么植物？", "图里的植物叫什么？"),
        ("桌子上有什么？", "桌上放着什么东西？"),
        ("牌子上写了什么？", "牌子上的字是什么？"),
        ("图中有几辆车？", "一共有多少辆车？"),
        ("这个人穿着什么衣服？", "他穿的是什么衣服？"),
        ("天气怎么样？", "图中的天气如何？"),
        ("这是在哪里拍的？", "这张照片的拍摄地点是哪里？"),
        ("他手里拿着什么？", "他手上拿的是什么？"),
        ("总结一下这张图表", "请概括这张图表的内容"),
        ("图中有没有人？", "图里能看到人吗？"),
        ("这道菜叫什么？", "这是什么菜？"),
        ("墙是什么颜色的？", "墙的颜色是什么？"),
        ("表上显示几点？", "钟表显示的时间是几点？"),
        ("把图中的文字翻译成英文", "请将图片里的文字翻译为英文"),
        ("这只鸟在做什么？", "图中的鸟正在干什么？"),
        ("发票上的金额是多少？", "这张发票的总金额是多少？"),
    ),
}
